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

// health waits until a component can work again that could before. While another fault is there, that may be why it cannot: then nothing is
// said, and it is to be asked again when that is over. own is how many of the faults that are there are its own.
func (r *Runner) health(ctx context.Context, o Order, own int) (asked bool, err error) {
	for end := time.Now().Add(healthLimit); ; {
		err := o.On.Healthy(ctx)
		if others := r.count(0) > own; err == nil || others {
			return err == nil, nil
		}
		if !time.Now().Before(end) || !target.Wait(ctx, 100*time.Millisecond) {
			return true, fmt.Errorf("its effect is gone, but it cannot work: %w", err)
		}
	}
}
