package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Pause stops every process of a component where it stands: connections stay open, and nobody answers.
type Pause struct{}

// Validate finds settings that cannot work; there are none.
func (*Pause) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*Pause) BackEnd() string { return "SIGSTOP" }

// Check is part of injectors.Fault.
func (*Pause) Check(_ context.Context, on target.Component) error {
	list, err := find(on)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("it has no process")
	}
	if n := stopped(list); n > 0 {
		return fmt.Errorf("%d of its processes are stopped already", n)
	}
	return nil
}

// Save is part of injectors.Fault: which processes there are.
func (*Pause) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	list, err := find(on)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(list)
}

// Inject is part of injectors.Fault.
func (f *Pause) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// A process may have started another one meanwhile: what is not stopped yet is looked for until there is none.
	for range 5 {
		list, err := find(on)
		if err == nil && len(list) > 0 && stopped(list) == len(list) {
			return nil
		}
		if err == nil {
			err = signalAll(list, syscall.SIGSTOP)
		}
		if err == nil {
			err = waitFor(ctx, func() bool { return stopped(list) == len(list) })
		}
		if err != nil {
			return errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, nil))
		}
	}
	return nil
}

// patience is how long a component is waited for that is asked for its health.
const patience = 300 * time.Millisecond

// Effect reads from the kernel which of the processes are stopped, and what processor time they have taken meanwhile; a component that can be asked
// for its health must not answer.
func (*Pause) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	list, err := find(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	n, before := stopped(list), used(list)
	m := injectors.Measured{N: uint64(len(list)), Asked: map[string]float64{"stopped_ratio": 1},
		Is:    map[string]float64{"stopped_ratio": float64(n) / float64(max(len(list), 1))},
		Bites: len(list) > 0 && n == len(list), Clean: n == 0,
		Reason: fmt.Sprintf("%d of %d processes are stopped", n, len(list))}
	if !m.Bites {
		return m, nil
	}
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if on.Socket == "" {
		<-waiting.Done()
	} else if err := on.Healthy(waiting); err == nil {
		m.Bites, m.Reason = false, "it answers all the same"
	}
	if m.Is["processor_seconds"] = used(list) - before; m.Is["processor_seconds"] > 0 {
		m.Bites, m.Reason = false, "its processes go on working"
	}
	return m, ctx.Err()
}

// used is the processor time that processes have had, in seconds.
func used(list []proc) (seconds float64) {
	for _, p := range list {
		its, _ := StatOf(p.PID) // one that has ended uses none
		seconds += its.CPU
	}
	return seconds
}

// Restore is part of injectors.Fault.
func (*Pause) Restore(ctx context.Context, on target.Component, _ injectors.Original) error {
	list, err := find(on)
	if errors.Is(err, os.ErrNotExist) { // the range is gone, and they with it
		return nil
	}
	if err == nil {
		err = signalAll(list, syscall.SIGCONT)
	}
	if err == nil {
		err = waitFor(ctx, func() bool { return stopped(list) == 0 })
	}
	return err
}

// stopped counts those that the kernel has as stopped by a signal.
func stopped(list []proc) (n int) {
	for _, p := range list {
		if Stopped(p.PID) {
			n++
		}
	}
	return n
}
