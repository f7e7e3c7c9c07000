package resource

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

var errNoGroup = errors.New("this machine gives it no cgroup: livedrill doctor says why")

// CPU leaves a component too few cores, as a limit in its container that somebody guessed: by its cgroup or, without one, by stopping its
// processes in turns.
type CPU struct {
	Cores float64 `json:"cores" unit:"cores" help:"that are left to all its processes together"`

	ruler ruler
}

// ruler is a way to hold a component's processes to a limit.
type ruler interface {
	name() string
	// save reads what release has to put back, or says why it cannot be had.
	save(ctx context.Context) (Limits, error)
	limit(ctx context.Context, cores float64) error
	release(ctx context.Context, was Limits) error
	// used and held are the processor seconds and the turns in which they were held back, so far.
	used(ctx context.Context) (float64, error)
	held(ctx context.Context) (float64, error)
	// least is the turns a second in which a component must be held back to be hurt, and slack the factor by which it may be seen above its limit.
	least() (turns, slack float64)
}

// Validate finds settings that cannot work.
func (f *CPU) Validate() error {
	if !(f.Cores >= 0.05 && f.Cores <= 64) {
		return fmt.Errorf("cores: %g is not between 0.05 and 64", f.Cores)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (f *CPU) BackEnd() string {
	if f.ruler == nil {
		return "cgroup"
	}
	return f.ruler.name()
}

func quotaOf(on target.Component) (Quota, error) {
	if on.Handles.Cgroup == nil || on.Handles.Cgroup.Version == 0 {
		return Quota{}, errNoGroup
	}
	return Quota{*on.Handles.Cgroup}, nil
}

// use gives the ruler that this fault has chosen, or chooses one.
func (f *CPU) use(on target.Component) ruler {
	if f.ruler == nil {
		if q, err := quotaOf(on); err == nil {
			f.ruler = q
		} else {
			f.ruler = newTurns(on)
		}
	}
	return f.ruler
}

// Check is part of injectors.Fault.
func (f *CPU) Check(ctx context.Context, on target.Component) error {
	was, err := f.use(on).save(ctx)
	if err == nil && was.Quota > 0 {
		err = errors.New("it has a quota already")
	}
	return err
}

// Save is part of injectors.Fault.
func (f *CPU) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	was, err := f.use(on).save(ctx)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(was)
}

// Inject is part of injectors.Fault.
func (f *CPU) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.use(on).limit(ctx, f.Cores)
}

// Effect reads for a second what the kernel says: it bites when the component was held back again and again, and used no more than was left to
// it. One that needs less is not hurt by the limit, and that is said.
func (f *CPU) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	by := f.use(on)
	var used, held [2]float64
	start := time.Now()
	for i := range 2 {
		var errs [2]error
		used[i], errs[0] = by.used(ctx)
		held[i], errs[1] = by.held(ctx)
		if err := errors.Join(errs[:]...); err != nil {
			return injectors.Measured{}, err
		}
		if i == 0 && !target.Wait(ctx, time.Second) {
			return injectors.Measured{}, ctx.Err()
		}
	}
	cores, turns := (used[1]-used[0])/time.Since(start).Seconds(), held[1]-held[0]
	least, slack := by.least()
	m := injectors.Measured{N: uint64(max(turns, 1)), Asked: map[string]float64{"cores": f.Cores},
		Is: map[string]float64{"cores": cores, "held_back": turns}, Bites: turns >= least && cores <= slack*f.Cores+0.02, Clean: turns == 0,
		Reason: fmt.Sprintf("it used %.2f cores and was held back %.0f times", cores, turns)}
	if turns < least {
		m.Reason = fmt.Sprintf("it was hardly held back (%.0f times): it needs no more than %.2f cores", turns, cores)
	}
	return m, nil
}

// Restore is part of injectors.Fault.
func (f *CPU) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	var before Limits
	if err := was.Read(&before); err != nil {
		return err
	}
	return f.use(on).release(ctx, before)
}

func (Quota) name() string { return "cgroup" }

func (q Quota) save(context.Context) (Limits, error) { return q.Save() }

func (q Quota) limit(_ context.Context, cores float64) error { return q.Limit(cores) }

func (q Quota) release(_ context.Context, was Limits) error { return q.Release(was) }

func (q Quota) used(context.Context) (float64, error) { return q.Used() }

func (q Quota) held(context.Context) (float64, error) { return q.Throttled() }

// least is a tenth of the 50 periods of a second.
func (Quota) least() (turns, slack float64) { return 5, 1.1 }
