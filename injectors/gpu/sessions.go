package gpu

import (
	"context"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/target"
)

// SessionLimit lets only so many encoders be open at once, as drivers of some cards do: whoever comes late is refused (OpenEncodeSessionEx
// failed: out of memory). The transcoder itself refuses, and ends what is open beyond the limit.
type SessionLimit struct {
	Most int `json:"most" unit:"encoders" help:"that may be open at once"`

	before map[int]process.Stat // the encoders that were open, by their process
}

// Validate finds settings that cannot work.
func (f *SessionLimit) Validate() error {
	if f.Most < 0 || f.Most > 100 {
		return fmt.Errorf("most: %d is not between 0 and 100", f.Most)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*SessionLimit) BackEnd() string { return "emulated" }

// Check is part of injectors.Fault: with fewer encoders than may be open, nobody would be refused.
func (f *SessionLimit) Check(ctx context.Context, on target.Component) error {
	if on.Handles.Encoder == nil {
		return errNoEncoder
	}
	if err := injectors.Untold[target.Sessions](ctx, on, "transcode"); err != nil {
		return err
	}
	state, err := encoders(ctx, on.Handles.Encoder.Socket)
	if err != nil {
		return err
	}
	f.before = map[int]process.Stat{}
	for _, pid := range state.PIDs {
		if its, ok := process.StatOf(pid); ok {
			f.before[pid] = its
		}
	}
	if len(f.before) <= f.Most {
		return fmt.Errorf("it has %d encoders: none would be refused", len(f.before))
	}
	return nil
}

// alive counts the encoders from before that the kernel still has.
func (f *SessionLimit) alive() (n int) {
	for pid, was := range f.before {
		if now, ok := process.StatOf(pid); ok && now.Start == was.Start && now.State != 'Z' {
			n++
		}
	}
	return n
}

// Save is part of injectors.Fault.
func (*SessionLimit) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Sessions](ctx, on, "transcode")
}

// Inject is part of injectors.Fault.
func (f *SessionLimit) Inject(ctx context.Context, on target.Component) error {
	if err := injectors.Tell(ctx, on, "transcode", target.Sessions{Limited: true, Most: f.Most}); err != nil {
		return err
	}
	_ = target.WaitUntil(ctx, 3*time.Second, func() bool { // those beyond it need a moment to end; the effect tells
		target.Wait(ctx, 20*time.Millisecond)
		state, err := encoders(ctx, on.Handles.Encoder.Socket)
		return err == nil && len(state.PIDs) <= f.Most && f.alive() <= f.Most
	})
	return nil
}

// Effect looks for a second at how many encoders the transcoder has, and asks the kernel how many of those from before are left. It is clean when
// the transcoder knows of no limit: when it tries its renditions again is its own affair.
func (f *SessionLimit) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	told, err := target.HasBeenTold[target.Sessions](ctx, on, "transcode")
	if err != nil {
		return injectors.Measured{}, err
	}
	most, n := 0, 0
	for range 5 {
		if !target.Wait(ctx, 200*time.Millisecond) {
			return injectors.Measured{}, ctx.Err()
		}
		state, err := encoders(ctx, on.Handles.Encoder.Socket)
		if err != nil {
			return injectors.Measured{}, err
		}
		most, n = max(most, len(state.PIDs), f.alive()), n+1
	}
	return injectors.Measured{N: uint64(n), Asked: map[string]float64{"encoders_at_most": float64(f.Most)}, Is: map[string]float64{"encoders": float64(most)},
		Bites: told.Limited && most <= f.Most, Clean: !told.Limited, Reason: fmt.Sprintf("%d encoders are open", most)}, nil
}

// Restore is part of injectors.Fault.
func (*SessionLimit) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return injectors.RestoreTold[target.Sessions](ctx, on, "transcode", was)
}
