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

	braked
	set   saved // the limit, as it is read back
	shown bool  // it can be: a brake that stops processes in turns has nothing to show
	felt  bool  // the encoders were held back once
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
	return errors.Join(append(errs, f.validate())...)
}

// Inject cuts the encoders' speed step by step as the thermal model says.
func (f *Throttle) Inject(ctx context.Context, _ target.Component) error {
	was, err := f.brake.save()
	if err != nil {
		return err
	}
	if err = f.cool(ctx); err == nil {
		f.set, err = f.brake.save()
		f.shown = f.set != was
	}
	if err != nil {
		err = errors.Join(err, f.brake.release(context.WithoutCancel(ctx), was))
	}
	return err
}

// cool brings the speed down: what is above the target shrinks by the factor e in each time constant.
func (f *Throttle) cool(ctx context.Context) error {
	const step = 50 * time.Millisecond
	for t := step; ; t += step {
		left := math.Exp(-t.Seconds() / max(f.Over.Seconds(), 0.01))
		if left < 0.02 {
			break
		}
		if err := f.brake.limit(ctx, float64(f.To)+(1-float64(f.To))*left, f.baseline); err != nil {
			return err
		}
		if !target.Wait(ctx, step) {
			return ctx.Err()
		}
	}
	if err := f.brake.limit(ctx, float64(f.To), f.baseline); err != nil {
		return err
	}
	return f.brake.settle(ctx, float64(f.To), f.baseline)
}

// Effect reads for a second what the kernel or the card itself says of the encoders. It bites when they were held back and are no faster than
// was asked for, within the brake's slack; once they were, the limit itself is enough, if it can be read: a transcoder that has shed renditions
// may need less than is left. It is clean when they are not held back any more. Beside that stands how much media comes out of them: encoders
// that make less than a second in a second fall behind.
func (f *Throttle) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	b, err := f.use(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	before, err := b.held(ctx)
	if err != nil {
		return injectors.Measured{}, err
	}
	slope := media(ctx, on)
	speed, err := b.speed(ctx, time.Second)
	if err != nil {
		return injectors.Measured{}, err
	}
	after, err := b.held(ctx)
	if err != nil {
		return injectors.Measured{}, err
	}
	held := after - before // in the second of the measurement
	m := injectors.Measured{N: uint64(held), Asked: map[string]float64{"speed_ratio": float64(f.To)},
		Is: map[string]float64{"speed_ratio": speed / max(f.baseline, 1e-9), b.unit(): speed, b.unit() + "_before": f.baseline, "held_back": held}}
	if out, ok := slope(ctx); ok {
		m.Is["media_seconds_per_second"] = out
	}
	now, err := b.save()
	if err != nil {
		return m, err
	}
	m.Clean = f.free(held, now)
	m.Bites = (held > 0 || f.felt && f.shown && now == f.set) && speed <= b.slack()*float64(f.To)*f.baseline+0.01
	f.felt = f.felt || m.Bites
	switch {
	case m.Clean && speed < leastSpeed:
		m.Reason = "nothing is being encoded now: the transcoder may have given up, and try again in some seconds"
	case m.Clean:
		m.Reason = "the encoders were never held back: they need less than is left"
	case !m.Bites:
		m.Reason = fmt.Sprintf("the encoders have %.3g of %.3g %s", speed, f.baseline, b.unit())
	default:
		m.Reason = fmt.Sprintf("the encoders were held back %.0f times in a second", held)
	}
	return m, nil
}
