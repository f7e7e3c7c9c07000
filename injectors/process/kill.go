package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// killing is what the faults have in common that kill a component's processes. What watches over the component starts it
// again; that is put back by letting it.
type killing struct{}

// BackEnd is part of injectors.BackEnded.
func (killing) BackEnd() string { return "SIGKILL" }

// Check is part of injectors.Fault.
func (killing) Check(_ context.Context, on target.Component) error {
	list, err := find(on)
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return errors.New("it has no process")
	case injectors.Begun(killName(on)):
		return errors.New("another fault kills it already")
	}
	return nil
}

// Save is part of injectors.Fault: how many processes there are.
func (killing) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	list, err := find(on)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(map[string]int{"processes": len(list)})
}

func killName(on target.Component) string { return "kill " + on.Handles.Network.Namespace }

// Restore is part of injectors.Fault: whatever is stopped goes on, and what watches over the component is let do its work.
func (killing) Restore(ctx context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(killName(on))
	err := new(Pause).Restore(ctx, on, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// well tells whether the component is there: it says that it can work or, where it has no word for that, takes connections.
func well(ctx context.Context, on target.Component) bool {
	list, err := find(on)
	if err != nil || len(list) == 0 {
		return false
	}
	if on.Socket != "" {
		return on.Healthy(ctx) == nil
	}
	conns, err := dial(ctx, on, 1)
	closeAll(conns)
	return err == nil
}

// look is how often a fault looks for new processes. A Redis that is started listens after some milliseconds.
const look = 2 * time.Millisecond

// readings looks at a component for a second, and gives the share of readings in which it was well.
func readings(ctx context.Context, on target.Component, over time.Duration) (share float64, n uint64, err error) {
	const turns = 20
	good := 0
	for range turns {
		if well(ctx, on) {
			good++
		}
		if !target.Wait(ctx, over/turns) {
			return 0, 0, ctx.Err()
		}
	}
	return float64(good) / turns, turns, nil
}

// Kill kills a component and keeps it dead: whenever it is started again it is killed again.
type Kill struct{ killing }

// Validate finds settings that cannot work; there are none.
func (*Kill) Validate() error { return nil }

// Inject is part of injectors.Fault. All processes are gone when it returns.
func (*Kill) Inject(ctx context.Context, on target.Component) error {
	return killEvery(ctx, on, look)
}

// killEvery kills all processes of a host at once, and again after each interval.
func killEvery(ctx context.Context, on target.Component, interval time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := find(on)
	if err == nil {
		err = signalAll(list, syscall.SIGKILL)
	}
	if err != nil {
		return err
	}
	if err := injectors.Begin(ctx, killName(on), func(ctx context.Context) {
		w := &watch{on: on}
		promptly(ctx, interval, func() {
			if list, err := w.find(); err == nil {
				_ = signalAll(list, syscall.SIGKILL) // the effect tells whether they died
			}
		})
	}); err != nil {
		return err
	}
	if err := waitFor(ctx, func() bool { return gone(list) }); err != nil {
		injectors.End(killName(on))
		return err
	}
	return nil
}

func gone(list []proc) bool {
	return !slices.ContainsFunc(list, proc.alive)
}

// mostUp is the share of readings in which a component that is killed or held whenever it comes up may be seen up all the same.
const mostUp = 0.1

// Effect asks for a second whether the component is there.
func (*Kill) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	up, n, err := readings(ctx, on, time.Second)
	return injectors.Measured{N: n, Asked: map[string]float64{"up_ratio": 0}, Is: map[string]float64{"up_ratio": up},
		Bites: up <= mostUp, Clean: up == 1, Reason: fmt.Sprintf("it was up in %.0f%% of %d readings", up*100, n)}, err
}

// RestartLoop kills a component again and again: it comes up, and dies.
type RestartLoop struct {
	killing
	Every unit.Duration `json:"every" help:"from one death to the next"`
}

// Validate finds settings that cannot work.
func (f *RestartLoop) Validate() error {
	if d := time.Duration(f.Every); d < 500*time.Millisecond || d > 3*time.Second {
		return fmt.Errorf("every: %s is not between 500ms and 3s, which a proof can wait for", f.Every)
	}
	return nil
}

// Inject is part of injectors.Fault.
func (f *RestartLoop) Inject(ctx context.Context, on target.Component) error {
	return killEvery(ctx, on, time.Duration(f.Every))
}

// Effect watches for three turns how many times the processes were others than before.
func (f *RestartLoop) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	const turns = 3
	var last uint64
	deaths := 0
	for end := time.Now().Add(turns*time.Duration(f.Every) + 300*time.Millisecond); time.Now().Before(end) && target.Wait(ctx, 20*time.Millisecond); {
		list, err := find(on)
		if err != nil {
			return injectors.Measured{}, err
		}
		if len(list) == 0 {
			continue
		}
		oldest := slices.MinFunc(list, func(a, b proc) int { return cmp.Compare(a.Start, b.Start) }).Start
		if last != 0 && oldest > last {
			deaths++
		}
		last = oldest
	}
	up, n, err := readings(ctx, on, 200*time.Millisecond)
	return injectors.Measured{N: n, Asked: map[string]float64{"restarts": turns}, Is: map[string]float64{"restarts": float64(deaths), "up_ratio": up},
		Bites: deaths >= turns-1, Clean: deaths == 0 && up == 1, Reason: fmt.Sprintf("it was started again %d times in %d turns", deaths, turns)}, err
}

// waitFor waits for something that the kernel does in a moment.
func waitFor(ctx context.Context, is func() bool) error {
	if err := target.WaitUntil(ctx, time.Second, is); err != nil {
		return fmt.Errorf("the processes do not do as they are told: %w", err)
	}
	return nil
}
