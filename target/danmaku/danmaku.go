package danmaku

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/poll"
)

const (
	tick        = 50 * time.Millisecond // of delivery, while that is little work
	longestTick = 250 * time.Millisecond
	workShare   = 4                // delivery takes about this part of a core, and more only once ticks are longest
	historySize = 50               // batches kept per room
	idle        = 60 * time.Second // a connection that says nothing for so long is closed
	unread      = 8 << 20          // bytes that may wait for a slow member before it is thrown out
	allUnread   = 256 << 20        // that may wait for all of them together
)

// server is one danmaku server. One thread reads what all members say; another delivers.
type server struct {
	config target.Config
	redis  *redis.Client
	poll   *poll.Poller
	mu     sync.Mutex
	rooms  map[string]*room
	number atomic.Uint64 // of connections, for names

	accepted, rejected, delivered, relayed prometheus.Counter
	life, passed                           uint64             // when this process began, and batches passed on since; of share alone
	heard                                  map[string]heard   // by server; under mu
	repeated                               prometheus.Counter // batches that came twice
	without                                prometheus.Counter // rounds that went on although Redis refused or failed
	connections                            prometheus.Gauge
	tickTime                               *record.Histogram
}

// Serve runs the server until ctx ends.
func Serve(ctx context.Context, c target.Config) (err error) {
	metrics := record.NewMetrics()
	options := &redis.Options{Addr: c.Peer("redis", target.PortRedis), Password: c.Secrets.Redis, DisableIdentity: true}
	if c.Defences[target.Deadlines] {
		options.DialTimeout, options.ReadTimeout, options.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
		options.MaxRetries = 1
	}
	s := &server{config: c, redis: redis.NewClient(options), rooms: map[string]*room{},
		life: uint64(time.Now().UnixNano()), heard: map[string]heard{},
		repeated:    metrics.Counter("livedrill_danmaku_repeated_total", "Batches from other servers that came twice and were dropped.", nil),
		accepted:    metrics.Counter("livedrill_danmaku_publishes_total", "Messages by what became of them.", prometheus.Labels{"result": "accepted"}),
		rejected:    metrics.Counter("livedrill_danmaku_publishes_total", "Messages by what became of them.", prometheus.Labels{"result": "rejected"}),
		delivered:   metrics.Counter("livedrill_danmaku_sent_total", "Messages handed to members' connections.", nil),
		relayed:     metrics.Counter("livedrill_danmaku_relayed_total", "Batches taken from other servers.", nil),
		without:     metrics.Counter("livedrill_danmaku_fallbacks_total", "Rounds of delivery that went on without Redis.", nil),
		connections: metrics.Gauge("livedrill_danmaku_connections", "Members now.", nil),
		tickTime:    metrics.Histogram("livedrill_danmaku_tick_seconds", "Time that one round of delivery took.", nil)}
	defer s.redis.Close()
	poller, err := poll.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, poller.Close()) }()
	poller.Budget = allUnread
	s.poll = poller
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) { s.join(ctx, w, r) })
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	front, err := c.Open(target.PortDanmaku)
	if err != nil {
		return err
	}
	return target.Together(ctx,
		func(ctx context.Context) error { return record.ServeHTTP(ctx, front, mux) },
		s.subscribe,
		s.read,
		s.run,
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, http.NewServeMux(), func(context.Context) error { return nil })
		})
}

var roomName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// join takes a WebSocket into a room: /ws?room=ROOM.
func (s *server) join(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("room")
	if !roomName.MatchString(name) {
		http.Error(w, "a room is 1 to 64 letters, digits and dashes", http.StatusBadRequest)
		return
	}
	from := r.URL.Query().Get("as")
	if !roomName.MatchString(from) {
		from = fmt.Sprintf("%s-%d", s.config.Name, s.number.Add(1))
	}
	conn, buffered, _, err := ws.HTTPUpgrader{Timeout: 5 * time.Second}.Upgrade(r, w)
	if err != nil {
		if conn != nil {
			conn.Close() // it was taken from the server, and has its answer
		}
		slog.Info("websocket", "err", err)
		return
	}
	early, _ := buffered.Peek(buffered.Reader.Buffered()) // what is there can be looked at
	fd, err := poll.Take(conn)
	if err != nil {
		slog.Error("websocket", "err", err)
		return
	}
	m := &member{server: s, from: []byte(from), frames: Frames{Masked: true, Limit: MaxMessage}}
	if !s.poll.Do(func() { m.sit(ctx, name, fd, early) }) {
		_ = unix.Close(fd) // it is over for everybody
	}
}

func (s *server) enter(name string, m *member) *room {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[name]
	if r == nil {
		r = &room{name: name, members: map[*member]struct{}{}}
		s.rooms[name] = r
	}
	r.door.Lock()
	defer r.door.Unlock()
	r.members[m] = struct{}{}
	return r
}

func (s *server) leave(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.room.door.Lock()
	defer m.room.door.Unlock()
	delete(m.room.members, m)
	if len(m.room.members) == 0 {
		delete(s.rooms, m.room.name)
	}
}

// read takes what members say, until ctx ends.
func (s *server) read(ctx context.Context) (err error) {
	stop := s.poll.Heed(ctx)
	defer stop()
	for look := time.Now().Add(idle / 4); err == nil && ctx.Err() == nil; {
		if err = s.poll.Turn(look); time.Now().After(look) {
			look = time.Now().Add(idle / 4)
			s.all(func(m *member) {
				if time.Since(m.heard) > idle {
					m.end(ws.StatusPolicyViolation)
				}
			})
		}
	}
	s.all(func(m *member) { m.end(ws.StatusGoingAway) })
	return err
}

// all calls do for every member who is here now.
func (s *server) all(do func(*member)) {
	s.mu.Lock()
	var here []*member
	for _, r := range s.rooms {
		here = slices.AppendSeq(here, maps.Keys(r.members)) // only the caller's thread changes them
	}
	s.mu.Unlock()
	for _, m := range here {
		do(m)
	}
}

// run delivers what the rooms have collected, tick by tick, until ctx ends.
func (s *server) run(ctx context.Context) error {
	for took := time.Duration(0); target.Wait(ctx, min(max(tick, workShare*took), longestTick)-took); {
		start := time.Now()
		s.mu.Lock()
		rooms := make([]*room, 0, len(s.rooms))
		for _, r := range s.rooms {
			rooms = append(rooms, r)
		}
		s.mu.Unlock()
		s.round(ctx, rooms)
		took = time.Since(start)
		s.tickTime.Observe(took.Seconds())
	}
	return nil
}

// round writes what came in here to Redis, all rooms together, then delivers and acknowledges.
func (s *server) round(ctx context.Context, rooms []*room) {
	var batches []batch
	for _, r := range rooms {
		if b := r.take(); len(b.fresh)+len(b.relayed) > 0 {
			batches = append(batches, b)
		}
	}
	err := s.share(ctx, batches)
	for _, b := range batches {
		verb, reason, lines := "ack", "", append(b.fresh, b.relayed...)
		if err != nil {
			verb, reason, lines = "nak", "unavailable", b.relayed
			s.rejected.Add(float64(len(b.publishers)))
		} else {
			s.accepted.Add(float64(len(b.publishers)))
		}
		for _, p := range b.publishers {
			p.m.answer(verb, p.id, reason)
		}
		s.delivered.Add(float64(b.room.deliver(lines)))
		for _, p := range b.publishers { // whoever had no delivery with it
			_ = p.m.send(nil)
		}
	}
}
