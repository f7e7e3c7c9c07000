package resource

import (
	"context"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// Burn gives a component neighbours on its host that compute without end.
type Burn struct {
	hog
	Processes int `json:"processes" help:"each takes a core, if it gets one"`
}

// Validate finds settings that cannot work.
func (f *Burn) Validate() error {
	if f.Processes < 1 || f.Processes > 64 {
		return fmt.Errorf("processes: %d is not between 1 and 64", f.Processes)
	}
	return nil
}

// Inject is part of injectors.Fault.
func (f *Burn) Inject(ctx context.Context, on target.Component) error {
	return f.run(ctx, on, f.Processes, target.Program{Path: burner[0], Args: burner[1:]})
}

// burner computes without end. Its option changes nothing, and tells it from what else may do such things on the host.
var burner = []string{"md5sum", "--binary", "/dev/zero"}

// Check is part of injectors.Fault.
func (f *Burn) Check(ctx context.Context, on target.Component) error {
	if err := f.hog.Check(ctx, on); err != nil {
		return err
	}
	return f.free(on, burner[0], burner[1:]...)
}

// Effect reads for half a second how many cores the neighbours get. It is clean when none runs in the component's group.
func (f *Burn) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	there, err := hosts.Running(groupOf(on), burner[0], burner[1:]...)
	if err != nil {
		return injectors.Measured{}, err
	}
	used, start := -cpuOf(there), time.Now()
	if !target.Wait(ctx, 500*time.Millisecond) {
		return injectors.Measured{}, ctx.Err()
	}
	used += cpuOf(there)
	cores := used / time.Since(start).Seconds()
	// What each gets depends on who else wants the processor: a tenth of a core each is the least that hurts.
	return injectors.Measured{N: uint64(f.Processes), Asked: map[string]float64{"cores_at_most": float64(f.Processes)}, Is: map[string]float64{"cores": cores},
		Bites: len(there) == f.Processes && cores > 0.1*float64(f.Processes), Clean: len(there) == 0,
		Reason: fmt.Sprintf("its host has %d such processes, that use %.2f cores", len(there), cores)}, nil
}

// cpuOf is what processes have used of processors, in seconds; one that has ended has used nothing.
func cpuOf(pids []int) (seconds float64) {
	for _, pid := range pids {
		its, _ := process.StatOf(pid)
		seconds += its.CPU
	}
	return seconds
}
