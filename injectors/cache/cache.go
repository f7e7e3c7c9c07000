// Package cache breaks caching in the three ways that are often taken for one: asking for what does not exist (penetration), one
// hot key that expires (breakdown), all keys that expire together (avalanche).
package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	redisclient "github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/attack"
	"github.com/livedrill/livedrill/injectors/redis"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Breakdown takes one hot key away again and again: everybody who asks for it meets the database at the same moment.
type Breakdown struct {
	Key   string        `json:"key" help:"that is taken away"`
	Every unit.Duration `json:"every" help:"from one time to the next"`
}

// Validate finds settings that cannot work.
func (f *Breakdown) Validate() error {
	var errs []error
	if f.Key == "" {
		errs = append(errs, errors.New("key: is empty"))
	}
	if d := time.Duration(f.Every); d < 5*time.Millisecond || d > 2*time.Second {
		errs = append(errs, fmt.Errorf("every: %s is not between 5ms and 2s", f.Every))
	}
	return errors.Join(errs...)
}

// BackEnd is part of injectors.BackEnded.
func (*Breakdown) BackEnd() string { return "UNLINK" }

func (f *Breakdown) name(on target.Component) string {
	return "cache breakdown " + on.Name + " " + f.Key
}

// Check is part of injectors.Fault.
func (f *Breakdown) Check(ctx context.Context, on target.Component) error {
	c, err := redis.Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if injectors.Begun(f.name(on)) {
		return errors.New("another fault takes this key away already")
	}
	return c.Ping(ctx).Err()
}

// Save is part of injectors.Fault: a cached value is made anew by whoever needs it.
func (*Breakdown) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Inject is part of injectors.Fault.
func (f *Breakdown) Inject(ctx context.Context, on target.Component) error {
	c, err := redis.Dial(on)
	if err != nil {
		return err
	}
	if err := c.Unlink(ctx, f.Key).Err(); err != nil {
		return errors.Join(err, c.Close())
	}
	err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
		defer c.Close()
		for target.Wait(ctx, time.Duration(f.Every)) {
			_ = c.Unlink(ctx, f.Key).Err() // the effect tells
		}
	})
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

// Effect reads the server's own count of UNLINK for a second: as often as the key was asked to be gone, within a fifth.
func (f *Breakdown) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	c, err := redis.Dial(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer c.Close()
	before, err := unlinks(ctx, c)
	if err != nil {
		return injectors.Measured{}, err
	}
	over := max(2*time.Duration(f.Every), 500*time.Millisecond)
	start := time.Now()
	if !target.Wait(ctx, over) {
		return injectors.Measured{}, ctx.Err()
	}
	after, err := unlinks(ctx, c)
	n := after - before
	asked := time.Since(start).Seconds() / f.Every.Seconds()
	return injectors.Measured{N: uint64(max(n, 1)), Asked: map[string]float64{"taken_away": asked}, Is: map[string]float64{"taken_away": n},
		Bites: n >= 0.5*asked-1 && n > 0, Clean: !injectors.Begun(f.name(on)), Reason: fmt.Sprintf("the key was taken away %.0f times", n)}, err
}

// unlinks is how often the server has done UNLINK.
func unlinks(ctx context.Context, c *redisclient.Client) (float64, error) {
	return redis.Calls(ctx, c, "unlink")
}

// Restore is part of injectors.Fault.
func (f *Breakdown) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	return nil
}

// Kinds lists the faults of caching.
var Kinds = []injectors.Kind{
	{Name: "cache.penetration", Summary: "requests for what does not exist pass every cache", BackEnds: []string{"clients"},
		On: "gateway", Takes: "attackers", Default: attack.Absent},
	{Name: "cache.breakdown", Summary: "one hot key is gone, and everybody asks the database for it", BackEnds: []string{"UNLINK"},
		On: "redis", Takes: "one key", Default: func() injectors.Fault { return &Breakdown{Key: "room:0", Every: unit.Duration(50 * time.Millisecond)} }},
	{Name: "cache.avalanche", Summary: "all that is cached is gone at the same moment", BackEnds: []string{"UNLINK"},
		On: "redis", Takes: "keys", Default: func() injectors.Fault { return &redis.Flush{Match: "room:*"} }},
}
