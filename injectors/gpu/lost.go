package gpu

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Lost takes the card away: every encoder dies, and dies again whenever it is started, as after "GPU has fallen off the bus". Nothing is
// done to a card; what is lost are the encoders.
type Lost struct{}

// Validate finds settings that cannot work; there are none.
func (*Lost) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*Lost) BackEnd() string { return "emulated" }

func (*Lost) name(on target.Component) string { return "gpu lost " + on.Name }

// Check is part of injectors.Fault.
func (f *Lost) Check(ctx context.Context, on target.Component) error {
	if on.Handles.Encoder == nil {
		return errNoEncoder
	}
	if injectors.Begun(f.name(on)) {
		return errors.New("another fault takes its encoders away already")
	}
	for end := time.Now().Add(2 * time.Second); ; { // one that gave up has a successor in a moment
		state, err := encoders(ctx, on.Handles.Encoder.Socket)
		if err != nil || len(state.PIDs) > 0 {
			return err
		}
		if !time.Now().Before(end) || !target.Wait(ctx, 50*time.Millisecond) {
			return errors.New("nothing is being encoded")
		}
	}
}

// Save is part of injectors.Fault: what watches over the encoders starts them again.
func (*Lost) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Inject is part of injectors.Fault.
func (f *Lost) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	socket := on.Handles.Encoder.Socket
	return injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
		for more := true; more; more = target.Wait(ctx, 20*time.Millisecond) {
			if state, err := encoders(ctx, socket); err == nil {
				for _, pid := range state.PIDs {
					_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended is no error
				}
			}
		}
	})
}

// Effect looks for a second at how much media comes out of the encoders.
func (f *Lost) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	if on.Handles.Encoder == nil {
		return injectors.Measured{}, errNoEncoder
	}
	before, err := encoders(ctx, on.Handles.Encoder.Socket)
	if err != nil {
		return injectors.Measured{}, err
	}
	if !target.Wait(ctx, time.Second) {
		return injectors.Measured{}, ctx.Err()
	}
	after, err := encoders(ctx, on.Handles.Encoder.Socket)
	out := after.Media - before.Media
	return injectors.Measured{N: 1, Asked: map[string]float64{"media_seconds_per_second": 0}, Is: map[string]float64{"media_seconds_per_second": out},
		Bites: out < 0.1 && injectors.Begun(f.name(on)), Clean: !injectors.Begun(f.name(on)) && len(after.PIDs) > 0 && out > 0,
		Reason: fmt.Sprintf("%.2f s of media came out in a second, from %d encoders", out, len(after.PIDs))}, err
}

// Restore is part of injectors.Fault.
func (f *Lost) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	return nil
}
