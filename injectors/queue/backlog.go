// Package queue breaks what works for others in its own time: consumers of queues.
package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/redis"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Backlog makes the consumer of a queue slow, as when what it writes to is: whatever comes faster than it works waits, and waits longer and
// longer. How long the queue gets is the platform's answer.
type Backlog struct {
	By unit.Duration `json:"by" help:"time that each event takes longer"`
}

// probes is how many events of its own a look puts in the queue, which nobody can read: they are thrown away, one after another, and nothing else
// comes of them. Their times are those of one event less.
const probes = 6

// lookLimit is how long a look may take at most: a consumer that is dead takes nothing out.
const lookLimit = 8 * time.Second

// Validate finds settings that cannot work.
func (f *Backlog) Validate() error {
	if d := time.Duration(f.By); d < 20*time.Millisecond || d > time.Second {
		return fmt.Errorf("by: %s is not between 20ms and 1s", f.By)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Backlog) BackEnd() string { return "ranking" }

// Check is part of injectors.Fault.
func (*Backlog) Check(ctx context.Context, on target.Component) error {
	if err := injectors.Untold[target.Consumption](ctx, on, "ranking"); err != nil {
		return err
	}
	c, err := dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx).Err()
}

// Save is part of injectors.Fault.
func (*Backlog) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Consumption](ctx, on, "ranking")
}

// Inject is part of injectors.Fault.
func (f *Backlog) Inject(ctx context.Context, on target.Component) error {
	return injectors.Tell(ctx, on, "ranking", target.Consumption{Slow: time.Duration(f.By)})
}

// Restore is part of injectors.Fault.
func (*Backlog) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return injectors.RestoreTold[target.Consumption](ctx, on, "ranking", was)
}

// dial reaches the server that keeps the queue.
func dial(on target.Component) (*goredis.Client, error) {
	q := on.Handles.Queue
	if q == nil {
		return nil, errors.New("it takes its work from no queue")
	}
	return redis.Dial(target.Component{Name: on.Name, Handles: target.Handles{Redis: &q.Redis, Network: q.Network}})
}

// state is what Redis itself says of the queue.
type state struct{ waiting, gone int64 }

func look(ctx context.Context, c *goredis.Client, stream string) (s state, err error) {
	info, err := c.XInfoStream(ctx, stream).Result()
	if err == nil {
		s = state{info.Length, info.EntriesAdded - info.Length}
	}
	return s, err
}

// Effect puts a few events in the queue and has Redis count those that are gone: the time from one to the next is what the consumer takes
// for one. It is clean when that is short: how long a queue that has grown takes to be empty again is the platform's answer, too.
func (f *Backlog) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	c, err := dial(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer c.Close()
	stream, by := on.Handles.Queue.Stream, time.Duration(f.By)
	for range probes {
		if err := c.XAdd(ctx, &goredis.XAddArgs{Stream: stream, Values: map[string]any{"probe": 1}}).Err(); err != nil {
			return injectors.Measured{}, err
		}
	}
	now, err := look(ctx, c, stream)
	if err != nil {
		return injectors.Measured{}, err
	}
	var ends []time.Time // of single events: the first is where the clock starts
	for end := time.Now().Add(min(2*probes*by+time.Second, lookLimit)); now.waiting > 0 && len(ends) < probes && time.Now().Before(end); {
		if !target.Wait(ctx, time.Millisecond) {
			return injectors.Measured{}, ctx.Err()
		}
		was := now
		if now, err = look(ctx, c, stream); err != nil {
			return injectors.Measured{}, err
		}
		for range now.gone - was.gone {
			ends = append(ends, time.Now())
		}
	}
	n, each := max(len(ends)-1, 0), time.Duration(0)
	if n > 0 {
		each = ends[n].Sub(ends[0]) / time.Duration(n)
	}
	m := injectors.Measured{N: uint64(n), Asked: map[string]float64{"event_seconds": by.Seconds()},
		Is:     map[string]float64{"event_seconds": each.Seconds(), "waiting": float64(now.waiting)},
		Bites:  n == probes-1 && (each-by).Abs() < max(by/5, 10*time.Millisecond),
		Clean:  (n == probes-1 || now.waiting == 0) && each < min(by/4, 20*time.Millisecond),
		Reason: fmt.Sprintf("it takes %s for an event, and %d wait", each.Round(10*time.Microsecond), now.waiting)}
	return m, nil
}

// Kinds lists the faults of queues.
var Kinds = []injectors.Kind{
	{Name: "queue.backlog", Summary: "the consumer of a queue is slow, and work piles up", BackEnds: []string{"ranking"}, On: "ranking", Takes: "consumer, processes",
		Default: func() injectors.Fault { return &Backlog{By: unit.Duration(200 * time.Millisecond)} }},
}
