// Package ranking is the platform's asynchronous part: gifts that are paid wait in a queue, a Redis stream, until their coins are added to the
// ranking of their room. The gateway puts them in; one consumer takes them out, one after another.
package ranking

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// Queue is the stream of gifts that wait, and Later that of those for which there was no room: they are dealt with when nobody else waits.
const (
	Queue = "queue:gifts"
	Later = "queue:gifts:later"
)

// Bound is how many gifts wait at most, where that defence is on.
const Bound = 50

// take is how many gifts are fetched at once.
const take = 20

type server struct {
	client    *redis.Client
	slow      target.Told[target.Consumption]
	done      map[string]prometheus.Counter // by queue
	delay     map[string]*record.Histogram
	malformed prometheus.Counter
	unsure    *unsure // nil: nothing
}

// unsure is a gift of which nobody knows whether it is in the ranking: Redis was asked, and no answer came.
type unsure struct {
	queue, stream string
	event         redis.XMessage
}

// Serve runs the consumer until ctx ends.
func Serve(ctx context.Context, c target.Config) error {
	metrics := record.NewMetrics()
	client := redis.NewClient(&redis.Options{Addr: c.Peer("redis", target.PortRedis), Password: c.Secrets.Redis, DisableIdentity: true, MaxRetries: -1,
		DialTimeout: time.Second, ReadTimeout: 2 * time.Second, PoolSize: 4, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}}) // a question that Redis 7 does not know
	defer client.Close()
	s := &server{client: client, delay: map[string]*record.Histogram{},
		done:      metrics.Counters("livedrill_queue_done_total", "Gifts that are in the ranking.", "queue", "first", "later"),
		malformed: metrics.Counter("livedrill_queue_malformed_total", "Events in the queue that are no gift, and were thrown away.", nil)}
	kept := &books{client: client}
	for queue, stream := range map[string]string{"first": Queue, "later": Later} {
		labels := prometheus.Labels{"queue": queue}
		s.delay[queue] = metrics.Histogram("livedrill_queue_delay_seconds", "From the moment at which a gift was put in the queue until it is in the ranking.", labels)
		metrics.GaugeFunc("livedrill_queue_waiting", "Gifts that wait in the queue.", labels, func() float64 { return kept.of(ctx, stream) })
	}
	for _, entry := range entries {
		metrics.GaugeFunc("livedrill_queue_books", "Gifts by Redis' own books, which outlive gateway and consumer: put in the queue, of these later for want of room, and done.",
			prometheus.Labels{"entry": entry}, func() float64 { return kept.of(ctx, entry) })
	}
	inner := http.NewServeMux()
	if err := s.slow.Handle(inner, c.Socket); err != nil {
		return err
	}
	return target.Together(ctx, s.run,
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, inner, func(ctx context.Context) error { return client.Ping(ctx).Err() })
		})
}

// run deals with gifts until ctx ends.
func (s *server) run(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := s.step(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			slog.Warn("queue", "err", err)
			target.Wait(ctx, 500*time.Millisecond)
		case n == 0:
			target.Wait(ctx, 20*time.Millisecond)
		}
	}
	return nil
}

// step deals with some of those that wait; others have their turn when there are none.
func (s *server) step(ctx context.Context) (n int, err error) {
	if u := s.unsure; u != nil { // both or neither was done: where it waits no more, it was
		left, err := s.client.XRange(ctx, u.stream, u.event.ID, u.event.ID).Result()
		if err != nil {
			return 0, err
		}
		if s.unsure = nil; len(left) == 0 {
			s.count(u.queue, u.event)
		}
	}
	for _, queue := range []struct{ name, stream string }{{"first", Queue}, {"later", Later}} {
		waiting, err := s.client.XRangeN(ctx, queue.stream, "-", "+", take).Result()
		if err != nil {
			return 0, err
		}
		for i, event := range waiting {
			if slow := s.slow.Now().Slow; slow > 0 && !target.Wait(ctx, slow) {
				return i, nil
			}
			if err := s.deal(ctx, queue.name, queue.stream, event); err != nil {
				return i, err
			}
			if queue.name == "later" { // somebody may have come meanwhile
				return 1, nil
			}
		}
		if len(waiting) > 0 {
			return len(waiting), nil
		}
	}
	return 0, nil
}

// deal adds a gift to its room's ranking, takes it out of the queue and notes it in the books: all of it or nothing.
func (s *server) deal(ctx context.Context, queue, stream string, event redis.XMessage) error {
	g, _, err := read(event)
	if err != nil {
		s.malformed.Inc()
		return s.client.XDel(ctx, stream, event.ID).Err()
	}
	pipe := s.client.TxPipeline()
	pipe.ZIncrBy(ctx, "ranking:"+strconv.Itoa(g.Room), float64(g.Amount), g.User)
	pipe.XDel(ctx, stream, event.ID)
	pipe.HIncrBy(ctx, Books, "done", 1)
	if _, err := pipe.Exec(ctx); err != nil {
		s.unsure = &unsure{queue, stream, event}
		return err
	}
	s.count(queue, event)
	return nil
}

// count takes in a gift that is in the ranking.
func (s *server) count(queue string, event redis.XMessage) {
	s.done[queue].Inc()
	if _, at, err := read(event); err == nil {
		s.delay[queue].Observe(max(time.Since(at), 0).Seconds())
	}
}

// Gift is what waits in the queue.
type Gift struct {
	Room   int
	User   string
	Amount int64
}

// read reads an event, and when it was put in: Redis writes the milliseconds into its name.
func read(event redis.XMessage) (g Gift, at time.Time, err error) {
	stamp, _, _ := strings.Cut(event.ID, "-")
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return g, at, fmt.Errorf("event %q: %w", event.ID, err)
	}
	text := func(name string) string { v, _ := event.Values[name].(string); return v }
	if g.Room, err = strconv.Atoi(text("room")); err != nil {
		return g, at, fmt.Errorf("event %s: room: %w", event.ID, err)
	}
	if g.Amount, err = strconv.ParseInt(text("amount"), 10, 64); err != nil {
		return g, at, fmt.Errorf("event %s: amount: %w", event.ID, err)
	}
	if g.User = text("user"); g.User == "" {
		return g, at, fmt.Errorf("event %s: no user", event.ID)
	}
	return g, time.UnixMilli(ms), nil
}
