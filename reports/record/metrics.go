package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Metrics are the numbers that one process offers, under the prefix livedrill_. Every series exists from the start with
// value zero, so that the difference between two boundaries of a run is always defined.
type Metrics struct {
	registry *prometheus.Registry
}

// NewMetrics gives a process its metrics, with CPU time, memory and file descriptors of the process already in.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Counter adds a counter; its name ends in _total.
func (m *Metrics) Counter(name, help string, labels prometheus.Labels) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	m.registry.MustRegister(c)
	return c
}

// Counters adds one counter for each value of a label.
func (m *Metrics) Counters(name, help, label string, values ...string) map[string]prometheus.Counter {
	out := make(map[string]prometheus.Counter, len(values))
	for _, v := range values {
		out[v] = m.Counter(name, help, prometheus.Labels{label: v})
	}
	return out
}

// Gauge adds a gauge.
func (m *Metrics) Gauge(name, help string, labels prometheus.Labels) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	m.registry.MustRegister(g)
	return g
}

// GaugeFunc adds a gauge that is read when it is asked for.
func (m *Metrics) GaugeFunc(name, help string, labels prometheus.Labels, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// CounterFunc adds a counter that is kept elsewhere, in an atomic on a hot path or in another program.
func (m *Metrics) CounterFunc(name, help string, labels prometheus.Labels, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(
		prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// Histogram adds a native histogram; its name ends in _seconds.
func (m *Metrics) Histogram(name, help string, labels prometheus.Labels) *Histogram {
	h := NewHistogram(name, help, labels)
	m.registry.MustRegister(h)
	return h
}

// Handler serves the metrics to any Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Serve answers /metrics and /health (and what mux holds beside them) on a Unix socket until ctx ends. health returns
// nil when the process can do its work.
func (m *Metrics) Serve(ctx context.Context, socket string, mux *http.ServeMux, health func(context.Context) error) error {
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		if err := health(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return ServeHTTP(ctx, l, mux)
}

// ServeHTTP serves handler on l until ctx ends, and returns when every request has ended or was cut off.
func ServeHTTP(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:    log.New(serverErrors{}, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		err = server.Close()
		return errors.Join(err, served(<-done))
	}
	return served(<-done)
}

// serverErrors logs what net/http says of its connections. That a client went away in a TLS handshake is the client's affair: thousands do when a
// certificate has ended.
type serverErrors struct{}

func (serverErrors) Write(line []byte) (int, error) {
	say := slog.Warn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		say = slog.Debug
	}
	say(string(bytes.TrimSpace(line)))
	return len(line), nil
}

// Gather reads all metrics once, for tests.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) { return m.registry.Gather() }

// served is what became of Serve: that it was closed is what was wanted.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
