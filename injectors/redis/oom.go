package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// OOM fills Redis up to its memory limit, with no policy that would make room: writes are refused with "OOM command not
// allowed when used memory > 'maxmemory'", reads go on.
type OOM struct {
	Ballast int `json:"ballast" unit:"MiB" help:"memory that is filled up"`
}

// Validate finds settings that cannot work.
func (f *OOM) Validate() error {
	if f.Ballast < 2 || f.Ballast > 4096 {
		return fmt.Errorf("ballast: %d MiB is not between 2 and 4096", f.Ballast)
	}
	return nil
}

const (
	ballastKey = "livedrill:ballast:"
	pieceSize  = 1 << 20
)

// oomSettings are what is changed in the server. They are put back in this order: with the policy first, the server would make
// room under a limit that is still ours, and lose keys.
var oomSettings = []string{"maxmemory", "maxmemory-policy"}

// BackEnd is part of injectors.BackEnded.
func (*OOM) BackEnd() string { return "maxmemory" }

// Check is part of injectors.Fault.
func (f *OOM) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := c.Exists(ctx, ballastKey+"0").Result()
	if err == nil && n > 0 {
		err = errors.New("another fault has its ballast in it already")
	}
	return err
}

// Save is part of injectors.Fault.
func (f *OOM) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return saveSettings(ctx, on, oomSettings...)
}

// Inject is part of injectors.Fault. The limit is put half the ballast below what is used, so that keys which expire do
// not make room.
func (f *OOM) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	if err := f.fill(ctx, c); err != nil {
		return errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, was))
	}
	return nil
}

func (f *OOM) fill(ctx context.Context, c *redis.Client) error {
	piece := make([]byte, pieceSize)
	for i := range f.Ballast {
		if err := c.Set(ctx, ballastKey+strconv.Itoa(i), piece, 0).Err(); err != nil {
			return fmt.Errorf("ballast: %w", err)
		}
	}
	used, err := memory(ctx, c)
	if err != nil {
		return err
	}
	if err := c.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err(); err != nil {
		return err
	}
	return c.ConfigSet(ctx, "maxmemory", strconv.FormatInt(used-int64(f.Ballast)*pieceSize/2, 10)).Err()
}

func memory(ctx context.Context, c *redis.Client) (int64, error) {
	text, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, errors.New("the server does not say how much memory it uses")
}

// Effect writes as the platform does and counts what is refused with the server's own words.
func (f *OOM) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return refusedWrites(ctx, on, "OOM command not allowed")
}

// Restore is part of injectors.Fault.
func (f *OOM) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := putSettings(ctx, c, was, oomSettings...); err != nil {
		return err
	}
	if err := drop(ctx, c, ballastKey); err != nil {
		return fmt.Errorf("ballast: %w", err)
	}
	return checkSettings(ctx, c, was)
}

// drop deletes all keys with a prefix.
func drop(ctx context.Context, c *redis.Client, prefix string) error {
	var cursor uint64
	for {
		keys, next, err := c.Scan(ctx, cursor, prefix+"*", 1000).Result()
		if err == nil && len(keys) > 0 {
			err = c.Unlink(ctx, keys...).Err()
		}
		if cursor = next; err != nil || cursor == 0 {
			return err
		}
	}
}
