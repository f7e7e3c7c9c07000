package process

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// SlowStart kills a component, and holds whatever is started in its place for a time before it may run: a cold cache, a
// migration, an image that is still being fetched.
type SlowStart struct {
	killing
	By unit.Duration `json:"by" help:"how long a new process is held"`
}

// Validate finds settings that cannot work.
func (f *SlowStart) Validate() error {
	if d := time.Duration(f.By); d < time.Second || d > 10*time.Minute {
		return fmt.Errorf("by: %s is not between 1s and 10m", f.By)
	}
	return nil
}

// Inject is part of injectors.Fault. The old processes are gone when it returns.
func (f *SlowStart) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	old, err := find(on)
	if err == nil {
		err = signalAll(old, syscall.SIGKILL)
	}
	if err != nil {
		return err
	}
	if err := injectors.Begin(ctx, killName(on), func(ctx context.Context) {
		held := map[proc]time.Time{}
		for _, p := range old {
			held[p] = time.Time{}
		}
		w := &watch{on: on}
		promptly(ctx, look, func() {
			list, err := w.find()
			if err != nil {
				return
			}
			for _, p := range list {
				until, known := held[p]
				switch {
				case !known && w.inside(p): // what one that may run already starts for itself
					held[p] = time.Time{}
				case !known:
					_ = p.signal(syscall.SIGSTOP) // the effect tells
					if conns, err := dial(ctx, on, 1); err == nil {
						closeAll(conns)
						_ = p.signal(syscall.SIGKILL) // it was seen too late, and would take connections all the while: the next one is held
						continue
					}
					held[p] = time.Now().Add(time.Duration(f.By))
				case !until.IsZero() && time.Now().After(until):
					held[p] = time.Time{}
					_ = p.signal(syscall.SIGCONT)
				}
			}
		})
	}); err != nil {
		return err
	}
	if err := waitFor(ctx, func() bool { return gone(old) }); err != nil {
		injectors.End(killName(on))
		return err
	}
	return nil
}

// Passes is part of injectors.Passing: what is slow to start starts in the end.
func (*SlowStart) Passes() {}

// Effect asks for a second whether the component is up: it must not be before its time.
func (f *SlowStart) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	up, n, err := readings(ctx, on, time.Second)
	return injectors.Measured{N: n, Asked: map[string]float64{"up_ratio": 0}, Is: map[string]float64{"up_ratio": up},
		Bites: up <= mostUp, Clean: up == 1 && !injectors.Begun(killName(on)), Reason: fmt.Sprintf("it was up in %.0f%% of %d readings", up*100, n)}, err
}
