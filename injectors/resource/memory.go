package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

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
	if here := available(); float64(f.Size)*(1<<20) > mostHeld*here {
		return fmt.Errorf("size: %d MiB, and this machine has %.0f available: that would hurt more than this component", f.Size, here/(1<<20))
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

// mostHeld is the share of the machine's memory that a neighbour may take.
const mostHeld = 0.8

// available is the memory that the machine could still give, in bytes: proc_meminfo(5), MemAvailable.
func available() float64 {
	text, _ := os.ReadFile("/proc/meminfo") // without it nothing is taken
	for line := range strings.Lines(string(text)) {
		var kilobytes float64
		if _, err := fmt.Sscanf(line, "MemAvailable: %f kB", &kilobytes); err == nil {
			return kilobytes * 1024
		}
	}
	return 0
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
