package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

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
	used, start := -cpuOfAll(there), time.Now()
	if !target.Wait(ctx, 500*time.Millisecond) {
		return injectors.Measured{}, ctx.Err()
	}
	used += cpuOfAll(there)
	cores := used / time.Since(start).Seconds()
	// What each gets depends on who else wants the processor: a tenth of a core each is the least that hurts.
	return injectors.Measured{N: uint64(f.Processes), Asked: map[string]float64{"cores_at_most": float64(f.Processes)}, Is: map[string]float64{"cores": cores},
		Bites: len(there) == f.Processes && cores > 0.1*float64(f.Processes), Clean: len(there) == 0,
		Reason: fmt.Sprintf("its host has %d such processes, that use %.2f cores", len(there), cores)}, nil
}

func cpuOfAll(pids []int) (seconds float64) {
	for _, pid := range pids {
		seconds += cpuOf(pid)
	}
	return seconds
}

// mostOf is the share of what is to be held that must show.
const mostOf = 0.9

// Memory gives a component a neighbour on its host that holds memory.
type Memory struct {
	hog
	Size int `json:"size" unit:"MiB" help:"that is held"`
}

// Validate finds settings that cannot work.
func (f *Memory) Validate() error {
	if f.Size < 16 || f.Size > 64<<10 {
		return fmt.Errorf("size: %d MiB is not between 16 and 65536", f.Size)
	}
	return nil
}

// Check is part of injectors.Fault.
func (f *Memory) Check(ctx context.Context, on target.Component) error {
	if err := f.hog.Check(ctx, on); err != nil {
		return err
	}
	return f.free(on, "dd", f.args()...)
}

// Inject is part of injectors.Fault.
func (f *Memory) Inject(ctx context.Context, on target.Component) (err error) {
	if err := f.begin(ctx, on); err != nil {
		return err
	}
	err = target.WaitUntil(ctx, 5*time.Second, func() bool {
		m, err := f.Effect(ctx, on)
		return err != nil || m.Bites
	})
	if err != nil {
		return errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, nil))
	}
	return nil
}

// hold holds the memory for a moment, whatever becomes of it.
func (f *Memory) hold(ctx context.Context, on target.Component, over time.Duration) error {
	if err := f.begin(ctx, on); err != nil {
		return err
	}
	target.Wait(ctx, over)
	return f.Restore(ctx, on, nil)
}

// begin starts the neighbour: dd reads one block of that size, and then waits for somebody to take it.
func (f *Memory) begin(ctx context.Context, on target.Component) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	in := zeros{open: make(chan struct{}), left: f.Size << 20}
	err = f.run(ctx, on, 1, target.Program{Path: "dd", Stdin: &in, Output: write, Started: func(int) { close(in.open) }, Args: f.args()})
	_ = write.Close() // the program has its own
	if err != nil {
		_ = read.Close() // nobody else would
		return err
	}
	if err := injectors.Begin(ctx, f.name(on)+" pipe", func(ctx context.Context) { <-ctx.Done(); _ = read.Close() }); err != nil {
		_ = read.Close() // as above
		return errors.Join(err, f.hog.Restore(ctx, on, nil))
	}
	return nil
}

// args are what makes dd hold the memory.
func (f *Memory) args() []string {
	return []string{"bs=" + strconv.Itoa(f.Size) + "M", "count=1", "iflag=fullblock", "status=none"}
}

// zeros come once they may: memory that a process touches before it is in its group is charged to another.
type zeros struct {
	open chan struct{}
	left int
}

// Read is part of io.Reader.
func (z *zeros) Read(p []byte) (int, error) {
	<-z.open
	n := min(len(p), z.left)
	if n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	z.left -= n
	return n, nil
}

// Effect reads from the kernel what the neighbour holds. It is clean when there is none in the component's group.
func (f *Memory) Effect(_ context.Context, on target.Component) (injectors.Measured, error) {
	there, err := hosts.Running(groupOf(on), "dd", f.args()...)
	held, asked := 0.0, float64(f.Size)*(1<<20)
	for _, pid := range there {
		held += resident(pid)
	}
	return injectors.Measured{N: 1, Asked: map[string]float64{"bytes": asked}, Is: map[string]float64{"bytes": held},
		Bites: held >= mostOf*asked, Clean: len(there) == 0,
		Reason: fmt.Sprintf("its host has %d such processes, that hold %.0f MiB", len(there), held/(1<<20))}, err
}

// resident is what a process holds in memory, in bytes: proc(5), /proc/PID/statm.
func resident(pid int) float64 {
	var all, here float64
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // one that has ended holds nothing
	_, _ = fmt.Sscan(string(text), &all, &here)
	return here * float64(os.Getpagesize())
}

// Restore is part of injectors.Fault.
func (f *Memory) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	injectors.End(f.name(on) + " pipe")
	return f.hog.Restore(ctx, on, was)
}

// memory is what a group's processes hold, without the files that the kernel keeps in memory for them, in bytes. It may be two seconds old.
func memory(g target.Cgroup) (float64, error) {
	stat, err := fields(filepath.Join(g.Memory, "memory.stat"))
	if g.Version == 2 {
		return stat["anon"], err
	}
	return stat["rss"], err
}
