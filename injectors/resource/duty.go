package resource

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/target"
)

// Duty slows processes down where there is no cgroup: in each turn they are stopped once they have had their time. How long that is follows
// from what they are seen to use.
type Duty struct {
	// State gives the processes as they are now, and what they have used of processors so far, in seconds.
	State func(ctx context.Context) (pids []int, used float64, err error)

	want    atomic.Uint64 // cores that they may use, in millionths
	stopped atomic.Uint64 // turns in which the kernel had one of them as stopped
	turning atomic.Bool
}

// On a busy machine a sleep ends milliseconds late, and without rights nothing can be done about it: a turn is long enough for that not to
// matter, and there are enough of them in the second in which an effect is measured.
const (
	Turn  = 160 * time.Millisecond
	turns = 3 // between two readings of what they use
)

// DutySlack is the factor by which they may be seen above their limit: processes' own clocks tick in hundredths of a second.
const DutySlack = 1.3

// Limit says how many cores they may use.
func (d *Duty) Limit(cores float64) { d.want.Store(uint64(1e6 * cores)) }

// Run holds them to the limit until ctx ends. It begins with the share of time in which all processors together could not do more than is
// wanted, and goes on from there by what is seen.
func (d *Duty) Run(ctx context.Context) {
	d.turning.Store(true)
	defer d.turning.Store(false)
	share := float64(d.want.Load()) / 1e6 / float64(runtime.NumCPU())
	pids, last, _ := d.State(ctx) // it is asked again in each turn
	for at := time.Now(); ctx.Err() == nil; {
		for range turns {
			on := time.Duration(share * float64(Turn))
			if now, _, err := d.State(ctx); err == nil { // one that gave up has a successor, which starts at full speed
				pids = now
			}
			signal(pids, syscall.SIGSTOP)
			target.Wait(ctx, Turn-on)
			if slices.ContainsFunc(pids, process.Stopped) {
				d.stopped.Add(1)
			}
			signal(pids, syscall.SIGCONT)
			if !target.Wait(ctx, on) {
				return
			}
		}
		_, now, err := d.State(ctx)
		if err != nil {
			continue
		}
		used := (now - last) / time.Since(at).Seconds()
		last, at = now, time.Now()
		change := float64(d.want.Load()) / 1e6 / max(used, 1e-3)
		share = min(max(share*min(max(change, 0.7), 1.3), 0.005), 0.98)
	}
}

// Settle waits until the cycle has found the share of time that it takes. If it does not, the effect, which is measured next, says what there is.
func (d *Duty) Settle(ctx context.Context, cores float64) error {
	for range 10 {
		now, err := d.Speed(ctx, 2*turns*Turn)
		if err != nil || now <= 1.1*cores {
			return err
		}
	}
	return nil
}

// Speed is the cores that they use, over a time.
func (d *Duty) Speed(ctx context.Context, over time.Duration) (float64, error) {
	_, before, err := d.State(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if !target.Wait(ctx, over) {
		return 0, ctx.Err()
	}
	_, after, err := d.State(ctx)
	return max(after-before, 0) / time.Since(start).Seconds(), err
}

// Held is the turns so far in which they were stopped; one that is found stopped outside of them counts too.
func (d *Duty) Held(ctx context.Context) (float64, error) {
	pids, _, err := d.State(ctx)
	if !d.turning.Load() {
		for _, pid := range pids {
			if process.Stopped(pid) {
				d.stopped.Add(1)
			}
		}
	}
	return float64(d.stopped.Load()), err
}

// Release lets them go on that a cycle has left stopped.
func (d *Duty) Release(ctx context.Context) error {
	pids, _, err := d.State(ctx)
	signal(pids, syscall.SIGCONT)
	return err
}

// signal sends to processes; one that has ended is no error.
func signal(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s)
	}
}
