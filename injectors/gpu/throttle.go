// Package gpu breaks what encodes video. Without a card that can encode, the card is emulated: the encoders' share of the
// processor is cut, in their own cgroup or by stopping and continuing them, and everything says "emulated".
package gpu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Throttle cuts the encoders' speed, as a card does that has grown too hot: over a first-order time constant down to a
// share of what they used before, and there it stays.
type Throttle struct {
	To   unit.Ratio    `json:"to" unit:"ratio" help:"share of the speed that is left"`
	Over unit.Duration `json:"over" help:"time constant of the thermal model"`

	brake    brake
	baseline float64 // cores that the encoders used before
}

// Validate finds settings that cannot work.
func (f *Throttle) Validate() error {
	var errs []error
	if f.To < 0.05 || f.To > 0.95 {
		errs = append(errs, fmt.Errorf("to: %s is not between 5%% and 95%%", f.To))
	}
	if time.Duration(f.Over) > 2*time.Second {
		errs = append(errs, fmt.Errorf("over: %s is above 2s", f.Over))
	}
	return errors.Join(errs...)
}

// brake is a way to slow the encoders down.
type brake interface {
	// save reads what release has to put back.
	save() (saved, error)
	// limit lets the encoders have so many cores.
	limit(ctx context.Context, cores float64) error
	// settle returns when the limit is what the encoders really get.
	settle(ctx context.Context, cores float64) error
	// slack is the factor by which they may be seen above that.
	slack() float64
	// release puts back what was there.
	release(ctx context.Context, was saved) error
	// read gives the encoders' CPU time so far, and how often they were held back.
	read(ctx context.Context) (reading, error)
}

// saved is what a brake found.
type saved struct {
	Period int64 `json:"period_us"`
	Quota  int64 `json:"quota_us"` // -1: none
}

type reading struct {
	at        time.Time
	cpu       float64 // seconds
	throttled float64 // periods in which the encoders were held back
}

// BackEnd is part of injectors.BackEnded.
func (*Throttle) BackEnd() string { return "emulated" }

var errNoEncoder = errors.New("it has no encoders")

// choose takes the cgroup where there is one.
func choose(on target.Component) (brake, error) {
	e := on.Handles.Encoder
	if e == nil {
		return nil, errNoEncoder
	}
	if e.Cgroup.Version > 0 {
		return quota{e.Cgroup}, nil
	}
	return &duty{socket: e.Socket}, nil
}

// Check is part of injectors.Fault.
func (f *Throttle) Check(ctx context.Context, on target.Component) error {
	b, err := choose(on)
	if err != nil {
		return err
	}
	_, err = b.read(ctx)
	return err
}

// Save is part of injectors.Fault.
func (f *Throttle) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	b, err := choose(on)
	if err != nil {
		return nil, err
	}
	was, err := b.save()
	if err != nil {
		return nil, err
	}
	return injectors.Keep(was)
}

// Inject measures for a second what the encoders use, and cuts it step by step as the thermal model says.
func (f *Throttle) Inject(ctx context.Context, on target.Component) error {
	var err error
	if f.brake, err = choose(on); err != nil {
		return err
	}
	if f.baseline, err = f.use(ctx, time.Second); err != nil {
		return err
	}
	if f.baseline < 0.005 {
		return fmt.Errorf("the encoders use %.3f cores: nothing is being encoded", f.baseline)
	}
	was, err := f.brake.save()
	if err != nil {
		return err
	}
	const step = 50 * time.Millisecond
	for t := step; ; t += step {
		left := math.Exp(-t.Seconds() / max(f.Over.Seconds(), 0.01))
		share := float64(f.To) + (1-float64(f.To))*left
		if left < 0.02 {
			share = float64(f.To)
		}
		err := f.brake.limit(ctx, share*f.baseline)
		if err == nil && left >= 0.02 && !target.Wait(ctx, step) {
			err = ctx.Err()
		}
		if err != nil {
			return errors.Join(err, f.brake.release(context.WithoutCancel(ctx), was))
		}
		if left < 0.02 {
			break
		}
	}
	if err := f.brake.settle(ctx, float64(f.To)*f.baseline); err != nil {
		return errors.Join(err, f.brake.release(context.WithoutCancel(ctx), was))
	}
	return nil
}

// use measures the cores that the encoders use.
func (f *Throttle) use(ctx context.Context, over time.Duration) (float64, error) {
	a, err := f.brake.read(ctx)
	if err != nil {
		return 0, err
	}
	if !target.Wait(ctx, over) {
		return 0, ctx.Err()
	}
	b, err := f.brake.read(ctx)
	return (b.cpu - a.cpu) / b.at.Sub(a.at).Seconds(), err
}

// Effect reads the kernel's own account of the encoders' CPU time for a second. It bites when they were held back and
// get no more than was asked for, within the brake's slack; it is clean when they are not held back any more.
func (f *Throttle) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	b := f.brake
	if b == nil {
		var err error
		if b, err = choose(on); err != nil {
			return injectors.Measured{}, err
		}
	}
	before, err := b.read(ctx)
	if err != nil {
		return injectors.Measured{}, err
	}
	if !target.Wait(ctx, time.Second) {
		return injectors.Measured{}, ctx.Err()
	}
	after, err := b.read(ctx)
	if err != nil {
		return injectors.Measured{}, err
	}
	cores := (after.cpu - before.cpu) / after.at.Sub(before.at).Seconds()
	held := after.throttled - before.throttled
	m := injectors.Measured{Asked: map[string]float64{"speed_ratio": float64(f.To)},
		Is: map[string]float64{"speed_ratio": cores / max(f.baseline, 1e-9), "cores": cores, "cores_before": f.baseline,
			"throttled_periods": held}, N: uint64(held)}
	m.Bites = held > 0 && cores <= b.slack()*float64(f.To)*f.baseline+0.01
	m.Clean = held == 0
	switch {
	case held == 0:
		m.Reason = "the encoders were never held back: they need less than is left"
	case !m.Bites:
		m.Reason = fmt.Sprintf("the encoders still get %.2f of %.2f cores", cores, f.baseline)
	}
	if !m.Clean && f.brake != nil {
		m.Reason = fmt.Sprintf("held back in %.0f periods", held)
	}
	return m, nil
}

// Restore is part of injectors.Fault.
func (f *Throttle) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	b := f.brake
	if b == nil {
		var err error
		if b, err = choose(on); err != nil {
			return err
		}
	}
	var s saved
	if err := was.Read(&s); err != nil {
		return err
	}
	return b.release(ctx, s)
}
