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

// CPU leaves a component too few cores, as a limit in its container that somebody guessed.
type CPU struct {
	Cores float64 `json:"cores" unit:"cores" help:"that are left to all its processes together"`
}

// Validate finds settings that cannot work.
func (f *CPU) Validate() error {
	if !(f.Cores >= 0.05 && f.Cores <= 64) {
		return fmt.Errorf("cores: %g is not between 0.05 and 64", f.Cores)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*CPU) BackEnd() string { return "cgroup" }

func quotaOf(on target.Component) (Quota, error) {
	if on.Handles.Cgroup == nil || on.Handles.Cgroup.Version == 0 {
		return Quota{}, errNoGroup
	}
	return Quota{*on.Handles.Cgroup}, nil
}

// Check is part of injectors.Fault.
func (*CPU) Check(_ context.Context, on target.Component) error {
	q, err := quotaOf(on)
	if err != nil {
		return err
	}
	was, err := q.Save()
	if err == nil && was.Quota > 0 {
		err = errors.New("it has a quota already")
	}
	return err
}

// Save is part of injectors.Fault.
func (*CPU) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	q, err := quotaOf(on)
	if err != nil {
		return nil, err
	}
	was, err := q.Save()
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
	q, err := quotaOf(on)
	if err != nil {
		return err
	}
	return q.Limit(f.Cores)
}

// leastHeld is in how many of the 50 periods of a second a component must be held back to be hurt.
const leastHeld = 5

// Effect reads for a second what the kernel says: it bites when the component was held back again and again, and used no more than was left to
// it. One that needs less is not hurt by the limit, and that is said.
func (f *CPU) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	q, err := quotaOf(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	var used, held [2]float64
	start := time.Now()
	for i := range 2 {
		var errs [2]error
		used[i], errs[0] = q.Used()
		held[i], errs[1] = q.Throttled()
		if err := errors.Join(errs[:]...); err != nil {
			return injectors.Measured{}, err
		}
		if i == 0 && !target.Wait(ctx, time.Second) {
			return injectors.Measured{}, ctx.Err()
		}
	}
	cores, periods := (used[1]-used[0])/time.Since(start).Seconds(), held[1]-held[0]
	m := injectors.Measured{N: uint64(max(periods, 1)), Asked: map[string]float64{"cores": f.Cores},
		Is: map[string]float64{"cores": cores, "held_back": periods}, Bites: periods >= leastHeld && cores <= 1.1*f.Cores+0.02, Clean: periods == 0,
		Reason: fmt.Sprintf("it used %.2f cores and was held back in %.0f periods", cores, periods)}
	if periods < leastHeld {
		m.Reason = fmt.Sprintf("it was hardly held back (%.0f periods): it needs no more than %.2f cores", periods, cores)
	}
	return m, nil
}

// Restore is part of injectors.Fault.
func (*CPU) Restore(_ context.Context, on target.Component, was injectors.Original) error {
	q, err := quotaOf(on)
	if err != nil {
		return err
	}
	var before Limits
	if err := was.Read(&before); err != nil {
		return err
	}
	return q.Release(before)
}
