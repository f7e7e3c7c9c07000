package gateway

import (
	"context"
	"database/sql"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// numbers are the gateway's own metrics.
type numbers struct {
	metrics *record.Metrics
	inWork  prometheus.Gauge
	tracer  trace.Tracer

	turnedAway prometheus.Counter
	queued     map[string]prometheus.Counter // gifts, by queue
	unranked   prometheus.Counter
}

func newNumbers(m *record.Metrics, kept *record.Traces) *numbers {
	return &numbers{metrics: m, tracer: kept.Provider().Tracer("gateway"),
		inWork:     m.Gauge("livedrill_gateway_requests_in_work", "Requests in work now.", nil),
		turnedAway: m.Counter("livedrill_gateway_turned_away_total", "Requests told to come back, as too many were in work.", nil),
		queued:     m.Counters("livedrill_queue_put_total", "Gifts put in the queue for their room's ranking.", "queue", "first", "later"),
		unranked:   m.Counter("livedrill_queue_lost_total", "Gifts that could not be put in the queue, and are missing in the ranking.", nil)}
}

// classes are the answers that are told apart, by their first digit.
var classes = map[int]string{2: "2xx", 4: "4xx", 5: "5xx"}

// measured counts a route's answers and their time, and makes each a part of its client's trace.
func (n *numbers) measured(route string, next http.Handler) http.Handler {
	byClass := map[string]prometheus.Counter{}
	for _, class := range classes {
		byClass[class] = n.metrics.Counter("livedrill_gateway_requests_total", "Requests answered.",
			prometheus.Labels{"route": route, "class": class})
	}
	latency := n.metrics.Histogram("livedrill_gateway_latency_seconds", "Time from request to answer.",
		prometheus.Labels{"route": route})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		n.inWork.Inc()
		defer n.inWork.Dec()
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := n.tracer.Start(ctx, route, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		status := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(status, r.WithContext(ctx))
		latency.Observe(time.Since(start).Seconds())
		if c := byClass[classes[status.code/100]]; c != nil {
			c.Inc()
		}
	})
}

type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// audit holds the ledger against the accounts, again and again.
type audit struct {
	db         *sql.DB
	gifts      prometheus.Gauge
	mismatches prometheus.Gauge
}

func newAudit(db *sql.DB, m *record.Metrics) *audit {
	return &audit{db: db,
		gifts:      m.Gauge("livedrill_ledger_gifts", "Gifts in the ledger.", nil),
		mismatches: m.Gauge("livedrill_ledger_difference", "Coins by which the gifts and the accounts differ.", nil)}
}

func (a *audit) run(ctx context.Context) error {
	for target.Wait(ctx, 500*time.Millisecond) {
		if err := a.once(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("audit", "err", err)
		}
	}
	return nil
}

// once reads both sides in one snapshot, so that a gift in between is in both or in neither.
func (a *audit) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var gifts, given, spent float64
	err := a.db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM gifts), (SELECT COALESCE(SUM(amount), 0) FROM gifts),
		(SELECT SUM(? - balance) FROM accounts)`, Balance).Scan(&gifts, &given, &spent)
	if err != nil {
		return err
	}
	a.gifts.Set(gifts)
	a.mismatches.Set(math.Abs(given - spent))
	return nil
}
