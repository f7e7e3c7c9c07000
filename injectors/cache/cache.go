// Package cache breaks caching in the three ways that are often taken for one: asking for what does not exist (penetration), one
// hot key that expires (breakdown), all keys that expire together (avalanche).
package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

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

	taken *atomic.Int64 // times that the key was there, and is gone
	usual float64       // times a second that clients ask for a key in vain without it
}

// misses is the server's count of keys that were asked for in vain.
const misses = "keyspace_misses"

// taker is the name of the client that takes keys away.
const taker = "livedrill-breakdown"

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

// Save is part of injectors.Fault: a cached value is made anew by whoever needs it. How often keys are asked for in vain anyway is measured, to be
// taken off.
func (f *Breakdown) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	c, err := redis.Dial(on)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if f.usual, err = redis.Growth(ctx, c, misses, 500*time.Millisecond); err != nil {
		return nil, err
	}
	return injectors.Keep(struct{}{})
}

// Inject is part of injectors.Fault.
func (f *Breakdown) Inject(ctx context.Context, on target.Component) error {
	c, err := redis.Dial(on)
	if err != nil {
		return err
	}
	taken := &atomic.Int64{}
	take := func(ctx context.Context) error { // on a connection with the name by which the server knows who does it
		conn := c.Conn()
		defer func() { _ = conn.Close() }() // it goes back to where it came from
		if err := conn.ClientSetName(ctx, taker).Err(); err != nil {
			return err
		}
		n, err := conn.Unlink(ctx, f.Key).Result()
		taken.Add(n)
		return err
	}
	if err = take(ctx); err == nil {
		err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
			defer c.Close()
			for target.Wait(ctx, time.Duration(f.Every)) {
				_ = take(ctx) // the effect tells
			}
		})
	}
	if err != nil {
		return errors.Join(err, c.Close())
	}
	f.taken = taken
	return nil
}

// Effect counts for a second how often the server really had the key and took it away, and how often somebody asked for a key in vain meanwhile, more
// than before, by the server's own count. It bites when half of the times were felt. A key that nobody asks for, or makes anew, is no hot key: taking
// it away hurts nobody. It is clean when the server has no client of that name.
func (f *Breakdown) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	m := injectors.Measured{N: 1, Asked: map[string]float64{"taken_away_at_least": 1}, Is: map[string]float64{"taken_away": 0}}
	c, err := redis.Dial(on)
	if err != nil {
		return m, err
	}
	defer c.Close()
	clients, err := c.ClientList(ctx).Result()
	if err != nil {
		return m, err
	}
	if m.Clean = !strings.Contains(clients, " name="+taker+" "); m.Clean || f.taken == nil {
		m.Reason = "nobody of this process takes it away"
		return m, nil
	}
	before, start := f.taken.Load(), time.Now()
	rate, err := redis.Growth(ctx, c, misses, max(time.Second, 2*time.Duration(f.Every)))
	n := f.taken.Load() - before
	missed := max(rate-f.usual, 0) * time.Since(start).Seconds()
	m.N, m.Is["taken_away"], m.Is["misses"], m.Bites = uint64(max(n, 1)), float64(n), missed, n > 0 && 2*missed >= float64(n)
	m.Reason = fmt.Sprintf("the key was there, and was taken away, %d times; keys were asked for in vain %.0f times more than before", n, missed)
	return m, err
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
		On: "redis", Takes: "one key, writes", Default: func() injectors.Fault { return &Breakdown{Key: "room:0", Every: unit.Duration(50 * time.Millisecond)} }},
	{Name: "cache.avalanche", Summary: "all that is cached is gone at the same moment", BackEnds: []string{"UNLINK"},
		On: "redis", Takes: "keys, writes", Default: func() injectors.Fault { return &redis.Flush{Match: "room:*"} }},
}
