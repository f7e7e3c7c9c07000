// Package gateway is the platform's API: log-in, rooms, gifts, dispatch of viewers to edges and danmaku servers, and the
// check of stream keys for the ingest.
package gateway

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/mariadb"
	"github.com/livedrill/livedrill/target/ranking"
)

// atOnce bounds the requests in work, where that defence is on.
const atOnce = 256

type server struct {
	config   target.Config
	db       *sql.DB
	reads    *reads
	cache    *cache
	tokens   tokens
	dispatch *dispatch
	slots    chan struct{} // nil: no bound
	queue    *redis.Client // for the queue alone: nothing is sent to it again
	bound    int           // of it; 0: none
	numbers  *numbers
}

// errNotFound is answered with 404, errRefused with 409: neither is a fault of the platform.
var (
	errNotFound = errors.New("not found")
	errRefused  = errors.New("refused")
)

// Serve runs the gateway until ctx ends.
func Serve(ctx context.Context, c target.Config) (err error) {
	metrics := record.NewMetrics()
	kept, err := record.OpenTraces(c.Traces, c.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close(ctx)) }()
	client := redis.NewClient(redisOptions(c))
	defer client.Close()
	if err := traceRedis(client, kept); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	limit := time.Duration(0) // the driver's own: none
	if c.Defences[target.Deadlines] {
		limit = time.Second
	}
	db, err := openTraced(mariadb.DSN(c, c.Peer("mariadb", target.PortMariaDB), limit), kept, "mariadb")
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer db.Close()
	pool := newPool(db, metrics)
	if err := migrate(ctx, db); err != nil {
		return err
	}
	replica := db
	if c.Replica != "" {
		if replica, err = openTraced(mariadb.DSN(c, c.Peer(c.Replica, target.PortMariaDB), limit), kept, c.Replica); err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
		defer replica.Close()
		replica.SetMaxOpenConns(poolSize)
		replica.SetMaxIdleConns(poolSize)
	}
	reads := newReads(db, replica, c.Defences[target.FreshReads], metrics)
	if err := reads.ready(ctx); err != nil {
		return err
	}
	dispatch, err := newDispatch(c, metrics)
	if err != nil {
		return err
	}
	s := &server{config: c, db: db, reads: reads, tokens: tokens{key: []byte(c.Secrets.Token)},
		cache: &cache{client: client, fallback: c.Defences[target.RedisFallback], local: map[string]entry{},
			without: metrics.Counter("livedrill_gateway_fallbacks_total", "Times a request went on without Redis.", nil)},
		dispatch: dispatch, numbers: newNumbers(metrics, kept)}
	if c.Defences[target.BoundedRequests] {
		s.slots = make(chan struct{}, atOnce)
		metrics.Gauge("livedrill_gateway_requests_limit", "Requests in work, at most; offered where there is a bound.", nil).Set(atOnce)
	}
	once := redisOptions(c)
	once.MaxRetries, once.ContextTimeoutEnabled, once.DialTimeout = -1, true, rankLimit
	s.queue = redis.NewClient(once)
	defer s.queue.Close()
	if c.Defences[target.BoundedQueue] {
		s.bound = ranking.Bound
	}
	audit := newAudit(db, metrics)
	inner := http.NewServeMux()
	if err := s.tokens.clock.Handle(inner, c.Socket); err != nil {
		return err
	}
	identity, err := target.NewIdentity(c, metrics)
	if err != nil {
		return err
	}
	if err := identity.Handle(inner); err != nil {
		return err
	}
	front, err := c.Open(target.PortHTTP)
	if err != nil {
		return err
	}
	secure, err := c.Open(target.PortHTTPS)
	if err != nil {
		return err
	}
	routes := s.routes()
	return target.Together(ctx,
		func(ctx context.Context) error { return record.ServeHTTP(ctx, front, routes) },
		func(ctx context.Context) error {
			return record.ServeHTTP(ctx, tls.NewListener(secure, identity.Server()), routes)
		},
		func(ctx context.Context) error { return s.dispatch.run(ctx) },
		func(ctx context.Context) error { return audit.run(ctx) },
		func(ctx context.Context) error { return pool.run(ctx) },
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, inner, db.PingContext)
		})
}

// redisOptions are the library's defaults on a weak platform: 3 s for a read, three retries.
func redisOptions(c target.Config) *redis.Options {
	o := &redis.Options{Addr: c.Peer("redis", target.PortRedis), Password: c.Secrets.Redis, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}} // a question that Redis 7 does not know
	if c.Defences[target.Deadlines] {
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
		o.PoolTimeout, o.MaxRetries = 200*time.Millisecond, 1
	}
	return o
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, route string, do func(*http.Request) (any, error)) {
		mux.Handle(pattern, s.numbers.measured(route, s.bounded(answer(do))))
	}
	handle("POST /v1/login", "login", s.login)
	handle("GET /v1/rooms/{id}", "room", s.room)
	handle("POST /v1/gifts", "gift", s.gift)
	handle("GET /v1/account", "account", s.account)
	handle("GET /v1/dispatch", "dispatch", s.assign)
	handle("POST /internal/publish", "publish", s.publish)
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// bounded answers 503 at once when too many requests are in work.
func (s *server) bounded(next http.Handler) http.Handler {
	if s.slots == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
			next.ServeHTTP(w, r)
		default:
			s.numbers.turnedAway.Inc()
			trace.SpanFromContext(r.Context()).SetStatus(codes.Error, "too many requests in work")
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusServiceUnavailable)
		}
	})
}

// answer turns a function's result into JSON and its error into a status.
func answer(do func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		result, err := do(r)
		var tooLarge *http.MaxBytesError
		switch {
		case err == nil:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(result) // the client has gone: nothing to do
		case errors.Is(err, errNotFound):
			http.Error(w, err.Error(), http.StatusNotFound)
		case errors.Is(err, errRefused):
			http.Error(w, err.Error(), http.StatusConflict)
		case errors.Is(err, errForbidden):
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case errors.Is(err, errMalformed), errors.As(err, &tooLarge):
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			slog.Warn("request failed", "path", r.URL.Path, "err", err)
			trace.SpanFromContext(r.Context()).SetStatus(codes.Error, err.Error())
			http.Error(w, "internal error", http.StatusInternalServerError)
		}
	})
}

var errMalformed = errors.New("malformed request")

func decode(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// Room is what a viewer is told of a room.
type Room struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
	Host  string `json:"host"`
}

// room reads through the cache: Redis, then MariaDB, then back into Redis.
func (s *server) room(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return nil, fmt.Errorf("%w: room %q", errMalformed, r.PathValue("id"))
	}
	return s.cache.read(r.Context(), "room:"+strconv.Itoa(id), func(ctx context.Context) (Room, error) {
		room := Room{ID: id}
		err := s.reads.replica.QueryRowContext(ctx, "SELECT title, host FROM rooms WHERE id = ?", id).Scan(&room.Title, &room.Host)
		if errors.Is(err, sql.ErrNoRows) {
			return room, fmt.Errorf("room %d: %w", id, errNotFound)
		}
		return room, err
	})
}

func (s *server) assign(r *http.Request) (any, error) {
	return s.dispatch.assign(r.URL.Query().Get("region"))
}

var channelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// publish tells the ingest which channel a stream key belongs to. On a range for hands-on work a name that is no key
// stands for itself.
func (s *server) publish(r *http.Request) (any, error) {
	key := r.PostFormValue("key")
	channel, ok := s.config.Secrets.Channel(key)
	if !ok && s.config.OpenKeys && channelName.MatchString(key) {
		channel, ok = key, true
	}
	if !ok || !channelName.MatchString(channel) {
		return nil, errForbidden
	}
	return map[string]string{"channel": channel}, nil
}
