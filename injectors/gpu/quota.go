package gpu

import (
	"context"
	"time"

	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/target"
)

// quota slows the encoders down with their cgroup's CFS quota.
type quota struct{ resource.Quota }

func (quota) name() string   { return "emulated" }
func (quota) unit() string   { return "cores" }
func (quota) slack() float64 { return 1.1 }

func (q quota) save() (saved, error) {
	was, err := q.Save()
	return saved{Limits: was}, err
}

func (q quota) limit(_ context.Context, share, before float64) error { return q.Limit(share * before) }

// settle has nothing to wait for: the kernel holds a quota from its next period on.
func (quota) settle(context.Context, float64, float64) error { return nil }

func (q quota) release(_ context.Context, was saved) error { return q.Release(was.Limits) }

// speed is the cores that the encoders use.
func (q quota) speed(ctx context.Context, over time.Duration) (float64, error) {
	return rate(ctx, over, func(context.Context) (float64, error) { return q.Used() })
}

// held is the periods in which the quota was used up.
func (q quota) held(context.Context) (float64, error) { return q.Throttled() }

// rate measures how fast a counter grows.
func rate(ctx context.Context, over time.Duration, read func(context.Context) (float64, error)) (float64, error) {
	start := time.Now()
	before, err := read(ctx)
	if err != nil {
		return 0, err
	}
	if !target.Wait(ctx, over) {
		return 0, ctx.Err()
	}
	after, err := read(ctx)
	return (after - before) / time.Since(start).Seconds(), err
}
