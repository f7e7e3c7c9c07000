package resource

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// hog is a process on a component's host, in its cgroup if it has one, that takes something away from the others. It dies with this process.
type hog struct{ role string } // tells its processes from those of another fault

// BackEnd is part of injectors.BackEnded.
func (hog) BackEnd() string { return "neighbour" }

func (h hog) name(on target.Component) string { return "hog " + on.Name + h.role }

// Check is part of injectors.Fault.
func (h hog) Check(_ context.Context, on target.Component) error {
	if on.Handles.Network == nil {
		return errors.New("it has no host")
	}
	if injectors.Begun(h.name(on)) {
		return errors.New("another fault has its processes beside it already")
	}
	for _, program := range []string{"md5sum", "dd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing on this machine (apt-get install coreutils)", program)
		}
	}
	return nil
}

// Save is part of injectors.Fault: processes go when they are told to.
func (hog) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Restore is part of injectors.Fault.
func (h hog) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(h.name(on))
	return nil
}

// run starts programs in the component's cgroup and keeps them until the fault ends. It returns when all have begun.
func (h hog) run(ctx context.Context, on target.Component, n int, program target.Program) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	begun := make(chan error, 2*n)
	err := injectors.Begin(ctx, h.name(on), func(ctx context.Context) {
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				p := program
				p.Started = func(pid int) {
					err := hosts.AddToCgroup(groupOf(on), pid)
					if program.Started != nil {
						program.Started(pid)
					}
					begun <- err
				}
				begun <- p.Run(ctx)
			})
		}
		wg.Wait()
	})
	if err != nil {
		return err
	}
	for range n {
		if err := <-begun; err != nil {
			injectors.End(h.name(on))
			return err
		}
	}
	return nil
}

// groupOf is the component's cgroup, or none.
func groupOf(on target.Component) (g target.Cgroup) {
	if on.Handles.Cgroup != nil {
		g = *on.Handles.Cgroup
	}
	return g
}

// free refuses neighbours that could not be told from those of another component: without a cgroup all are in one place.
func (h hog) free(on target.Component, program string, args ...string) error {
	there, err := hosts.Running(groupOf(on), program, args...)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("%d processes %s are there already", len(there), program)
	}
	return err
}
