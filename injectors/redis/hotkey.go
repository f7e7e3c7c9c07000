package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// HotKey asks for one large value again and again, as a front end does whose whole audience is in one room.
type HotKey struct {
	Size    int `json:"size" unit:"bytes" help:"of the value"`
	Clients int `json:"clients" help:"that ask at once, each as fast as it is answered"`

	usual float64 // bytes a second that the server sends without it
}

const hotKey = "livedrill:hot"

// Validate finds settings that cannot work.
func (f *HotKey) Validate() error {
	if f.Size < 1 || f.Size > 8<<20 {
		return fmt.Errorf("size: %d is not between 1 byte and 8 MiB", f.Size)
	}
	if f.Clients < 1 || f.Clients > 200 {
		return fmt.Errorf("clients: %d is not between 1 and 200", f.Clients)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*HotKey) BackEnd() string { return "GET" }

// Check is part of injectors.Fault.
func (f *HotKey) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := c.Exists(ctx, hotKey).Result()
	if err == nil && n > 0 {
		err = errors.New("another fault has its hot key in it already")
	}
	return err
}

// Save is part of injectors.Fault: the key is ours alone. What the server sends to others is measured, to be taken off.
func (f *HotKey) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	c, err := Dial(on)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if f.usual, err = sends(ctx, c); err != nil {
		return nil, err
	}
	return nothing()
}

// sends is how many bytes a second the server sends.
func sends(ctx context.Context, c *redis.Client) (float64, error) {
	return Growth(ctx, c, "total_net_output_bytes", 500*time.Millisecond)
}

func (*HotKey) name(on target.Component) string { return "redis hot key " + on.Handles.Redis.Addr }

// Inject is part of injectors.Fault.
func (f *HotKey) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Set(ctx, hotKey, make([]byte, f.Size), 0).Err(); err != nil {
		return err
	}
	err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
		var wg sync.WaitGroup
		defer wg.Wait()
		for range f.Clients {
			wg.Go(func() {
				c, err := Dial(on)
				if err != nil {
					return
				}
				defer c.Close()
				for ctx.Err() == nil {
					if c.Get(ctx, hotKey).Err() != nil {
						target.Wait(ctx, retry)
					}
				}
			})
		}
	})
	if err != nil {
		return errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, nil))
	}
	return nil
}

// Effect reads from the server how many bytes a second it sends more than before: it bites with 50 values a second, and is clean without the key.
func (f *HotKey) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	c, err := Dial(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer c.Close()
	rate, err := sends(ctx, c)
	if err != nil {
		return injectors.Measured{}, err
	}
	there, err := c.Exists(ctx, hotKey).Result()
	rate = max(rate-f.usual, 0)
	values := rate / float64(f.Size)
	return injectors.Measured{N: uint64(max(values/2, 1)), Asked: map[string]float64{"clients": float64(f.Clients)},
		Is:    map[string]float64{"bytes_per_second": rate, "values_per_second": values},
		Bites: there > 0 && values > 50, Clean: there == 0, Reason: fmt.Sprintf("it sends %.0f values a second", values)}, err
}

// Restore is part of injectors.Fault.
func (f *HotKey) Restore(ctx context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Del(ctx, hotKey).Err()
}
