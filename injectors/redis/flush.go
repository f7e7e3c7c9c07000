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

// Flush empties the server: every key is gone at once, and everything that was cached is asked for where it comes from. At the
// end the keys that nobody has made anew are put back.
type Flush struct {
	Match string `json:"match" help:"pattern of the keys that go"`

	gone []string // keys that were saved, and that should be there at the end
}

// savedKey is one key as DUMP writes it, with the time that it had left.
type savedKey struct {
	Key  string        `json:"key"`
	Dump []byte        `json:"dump"`
	As   string        `json:"as"`  // its encoding in the server's memory: the same value is written otherwise in another one
	TTL  time.Duration `json:"ttl"` // 0: it does not expire
	Read time.Time     `json:"read"`
}

// What is saved must fit into a journal.
const (
	maxKeys  = 20_000
	maxBytes = 16 << 20
)

// Validate finds settings that cannot work.
func (f *Flush) Validate() error {
	if f.Match == "" {
		return errors.New("match: is empty; * is every key")
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Flush) BackEnd() string { return "UNLINK" }

func (f *Flush) keys(ctx context.Context, c *redis.Client) ([]string, error) {
	var out []string
	it := c.Scan(ctx, 0, f.Match, 1000).Iterator()
	for it.Next(ctx) {
		if out = append(out, it.Val()); len(out) > maxKeys {
			return nil, fmt.Errorf("it has more than %d keys that match %s: they could not be put back", maxKeys, f.Match)
		}
	}
	return out, it.Err()
}

// Check is part of injectors.Fault.
func (f *Flush) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := f.keys(ctx, c)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("it has no key that matches %s", f.Match)
	}
	return err
}

// Save is part of injectors.Fault: every key with its value and the time that it has left.
func (f *Flush) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	c, err := Dial(on)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	keys, err := f.keys(ctx, c)
	if err != nil {
		return nil, err
	}
	var was []savedKey
	total := 0
	for _, key := range keys {
		dump, err := c.Dump(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			continue // it has expired meanwhile
		}
		if err != nil {
			return nil, err
		}
		ttl, err := c.PTTL(ctx, key).Result()
		if err != nil {
			return nil, err
		}
		as, err := c.ObjectEncoding(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if total += len(dump); total > maxBytes {
			return nil, fmt.Errorf("its keys are more than %d MiB: they could not be put back", maxBytes>>20)
		}
		was = append(was, savedKey{key, []byte(dump), as, max(ttl, 0), time.Now()})
	}
	f.gone = nil
	for _, k := range was {
		f.gone = append(f.gone, k.Key)
	}
	return injectors.Keep(was)
}

// Inject is part of injectors.Fault. Keys that were not saved could not be put back, and stay.
func (f *Flush) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if len(f.gone) == 0 {
		return nil // the effect tells
	}
	return c.Unlink(ctx, f.gone...).Err()
}

// Passes is part of injectors.Passing: what was lost is made anew.
func (*Flush) Passes() {}

// Effect counts the keys that are still away. Those that the platform has made anew are the recovery that the drill is about:
// right after the fault most are away; at the end none of those that are left may be.
func (f *Flush) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	c, err := Dial(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer c.Close()
	here := int64(0)
	if len(f.gone) > 0 {
		if here, err = c.Exists(ctx, f.gone...).Result(); err != nil {
			return injectors.Measured{}, err
		}
	}
	away := int64(len(f.gone)) - here
	return injectors.Measured{N: uint64(len(f.gone)), Asked: map[string]float64{"keys": float64(len(f.gone))}, Is: map[string]float64{"keys_away": float64(away)},
		Bites: away > 0 && 2*away >= int64(len(f.gone)), Clean: away == 0, Reason: fmt.Sprintf("%d of %d keys are away", away, len(f.gone))}, nil
}

// Restore is part of injectors.Fault. What is there by now is newer, and stays; what would have expired meanwhile is not put
// back. What is put back is read again, before anybody else can change it.
func (f *Flush) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	var before []savedKey
	if err := was.Read(&before); err != nil {
		return err
	}
	f.gone = nil
	for _, k := range before {
		ttl := time.Duration(0)
		if k.TTL > 0 {
			if ttl = k.TTL - time.Since(k.Read); ttl < time.Millisecond {
				continue
			}
		}
		if err := k.restore(ctx, c, ttl); err != nil && !redis.HasErrorPrefix(err, "BUSYKEY") {
			return fmt.Errorf("key %s: %w", k.Key, err)
		}
		if ttl == 0 || ttl > time.Minute { // one that lives no longer may be gone when somebody looks
			f.gone = append(f.gone, k.Key)
		}
	}
	return nil
}

// restore puts a key back and reads it again in one transaction. One that has another value is taken away again, so that the next try is none of
// somebody else's key. Redis itself holds what it reads against a checksum; where the value is kept in another way than before, or without an order
// (hash tables), the bytes are others all the same, and that has to do.
func (k savedKey) restore(ctx context.Context, c *redis.Client, ttl time.Duration) error {
	tx := c.TxPipeline()
	tx.Restore(ctx, k.Key, ttl, string(k.Dump))
	now, as := tx.Dump(ctx, k.Key), tx.ObjectEncoding(ctx, k.Key)
	if _, err := tx.Exec(ctx); err != nil {
		return err
	}
	got := now.Val()
	if alike := as.Val() == k.As && k.As != "hashtable"; got == "" || alike && got != string(k.Dump) {
		return errors.Join(errors.New("it has another value than before"), c.Del(ctx, k.Key).Err())
	}
	return nil
}
