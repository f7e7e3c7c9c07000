package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

const (
	retry = 10 * time.Millisecond
	turn  = 200 * time.Millisecond
)

// Pause freezes the server for all clients (CLIENT PAUSE), in turns of 200 ms: a client that waits gets one command through
// between two of them. The server itself ends a turn, so a fault whose process has died is over in a moment.
type Pause struct{}

// Validate finds settings that cannot work; there are none.
func (*Pause) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*Pause) BackEnd() string { return "CLIENT PAUSE" }

// Check is part of injectors.Fault.
func (f *Pause) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if injectors.Begun(f.name(on)) {
		return errors.New("another fault pauses it already")
	}
	return c.Ping(ctx).Err()
}

// Save is part of injectors.Fault: nothing is changed that would have to be put back.
func (*Pause) Save(context.Context, target.Component) (injectors.Original, error) { return nothing() }

func (*Pause) name(on target.Component) string { return "redis pause " + on.Handles.Redis.Addr }

// Inject is part of injectors.Fault.
func (f *Pause) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	if err := pause(ctx, c); err != nil {
		return errors.Join(err, c.Close())
	}
	err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
		defer c.Close()
		for ctx.Err() == nil {
			if pause(ctx, c) != nil { // the order itself waits until the turn before is over
				target.Wait(ctx, retry)
			}
		}
	})
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

func pause(ctx context.Context, c *redis.Client) error {
	return c.Do(ctx, "CLIENT", "PAUSE", turn.Milliseconds(), "ALL").Err()
}

// Effect asks the server a few times and takes the time that an answer needs: at least half a turn on average.
func (f *Pause) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	const asks = 3
	var sum time.Duration
	for range asks {
		c, err := Dial(on)
		if err != nil {
			return injectors.Measured{}, err
		}
		start := time.Now()
		err = c.Ping(ctx).Err()
		sum += time.Since(start)
		_ = c.Close()
		if err != nil {
			return injectors.Measured{}, err
		}
	}
	mean := sum / asks
	return injectors.Measured{N: asks, Asked: map[string]float64{"answer_seconds": (turn / 2).Seconds()}, Is: map[string]float64{"answer_seconds": mean.Seconds()},
		Bites: mean > turn/4, Clean: mean < turn/20, Reason: fmt.Sprintf("an answer takes %s", mean.Round(time.Millisecond))}, nil
}

// Restore is part of injectors.Fault: the turn that is on is waited for.
func (f *Pause) Restore(ctx context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(ctx, "CLIENT", "UNPAUSE").Err()
}
