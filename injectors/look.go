package injectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/target"
)

func (r *Runner) measure(ctx context.Context, o Order) (Measured, error) {
	return within(ctx, effectLimit, func(ctx context.Context) (Measured, error) { return o.Fault.Effect(ctx, o.On) })
}

// look measures until what it sees is good, or a time has come: one look alone is easily disturbed on a busy machine, and what was broken may
// need a moment: a host behind a healed link is asked for its address again.
func (r *Runner) look(ctx context.Context, o Order, end time.Time, good func(Measured) bool) (m Measured, err error) {
	for n := 0; ; n++ {
		next, wrong := r.measure(ctx, o)
		switch cut := ctx.Err(); {
		case errors.Is(wrong, errHangs), wrong == nil && good(next):
			return next, wrong
		case cut != nil && n > 0: // this one says nothing; the one before does
			return m, err
		case cut != nil:
			return m, cut
		}
		if m, err = next, wrong; !time.Now().Before(end) || !target.Wait(ctx, 100*time.Millisecond) {
			return m, err
		}
	}
}

// health waits until a component can work again that could before, unless another fault may be why it cannot.
func (r *Runner) health(ctx context.Context, o Order) (err error) {
	alone := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.live <= 1
	}
	for end := time.Now().Add(healthLimit); alone(); {
		if err = o.On.Healthy(ctx); err == nil || !time.Now().Before(end) || !target.Wait(ctx, 100*time.Millisecond) {
			break
		}
	}
	if err != nil && alone() {
		return fmt.Errorf("its effect is gone, but it cannot work: %w", err)
	}
	return nil
}
