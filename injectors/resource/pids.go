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
	"strings"
	"sync"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// PIDs leaves a component no room for more processes and threads (EAGAIN), as in a container whose limit somebody guessed. A program
// that cannot do without a new thread ends.
type PIDs struct {
	Spare int `json:"spare" unit:"threads" help:"that it may still start"`
}

// Validate finds settings that cannot work.
func (f *PIDs) Validate() error {
	if f.Spare < 0 || f.Spare > 100 {
		return fmt.Errorf("spare: %d is not between 0 and 100", f.Spare)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*PIDs) BackEnd() string { return "cgroup" }

func pidsFile(on target.Component, name string) (string, error) {
	if on.Handles.Cgroup == nil || on.Handles.Cgroup.PIDs == "" {
		return "", errors.New("this machine gives it no cgroup that counts processes")
	}
	return filepath.Join(on.Handles.Cgroup.PIDs, name), nil
}

// pidLimit is the limit as the kernel writes it: a number, or max.
func pidLimit(on target.Component) (string, error) {
	path, err := pidsFile(on, "pids.max")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

// Check is part of injectors.Fault.
func (*PIDs) Check(_ context.Context, on target.Component) error {
	limit, err := pidLimit(on)
	if err == nil && limit != "max" {
		err = fmt.Errorf("it has a limit of %s already", limit)
	}
	if err == nil {
		if _, missing := exec.LookPath("xargs"); missing != nil {
			err = errors.New("xargs is missing on this machine (apt-get install findutils)")
		}
	}
	return err
}

// Save is part of injectors.Fault.
func (*PIDs) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	limit, err := pidLimit(on)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(limit)
}

// Inject is part of injectors.Fault.
func (f *PIDs) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	current, err := pidsFile(on, "pids.current")
	if err != nil {
		return err
	}
	n, err := readInt(current)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(current), "pids.max"), strconv.AppendInt(nil, n+int64(f.Spare), 10), 0)
}

// Effect puts programs into the component's group, each of which then starts another one: it bites when those that are over the limit
// cannot. It is clean when all can.
func (f *PIDs) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	if _, err := pidsFile(on, ""); err != nil {
		return injectors.Measured{}, err
	}
	tries := f.Spare + 3
	refused, err := f.start(ctx, on, tries)
	limit, limitErr := pidLimit(on)
	return injectors.Measured{N: uint64(tries), Asked: map[string]float64{"spare": float64(f.Spare)}, Is: map[string]float64{"refused_starts": float64(refused)},
			Bites: refused >= 3, Clean: refused == 0 && limit == "max", Reason: fmt.Sprintf("%d of %d programs could not be started", refused, tries)},
		errors.Join(err, limitErr)
}

// start lets n programs into the group, has each start one more when all are in, and counts those that the kernel refuses.
func (f *PIDs) start(ctx context.Context, on target.Component, n int) (refused int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var mu sync.Mutex
	var wg, within sync.WaitGroup
	within.Add(n)
	in := gate{open: make(chan struct{})}
	go func() { within.Wait(); close(in.open) }()
	for range n {
		wg.Go(func() {
			entered := sync.OnceFunc(within.Done)
			defer entered() // one that could not be started
			var said strings.Builder
			var into error
			run := target.Program{Path: "xargs", Args: []string{"true"}, Stdin: &in, Output: &said, Started: func(pid int) {
				into = hosts.AddToCgroup(target.Cgroup{Version: on.Handles.Cgroup.Version, PIDs: on.Handles.Cgroup.PIDs}, pid)
				entered()
			}}.Run(ctx) // it ends by itself, and says of that what it says of every end
			mu.Lock()
			defer mu.Unlock()
			switch {
			case into != nil:
				err = errors.Join(err, into)
			case strings.Contains(said.String(), "fork"):
				refused++
			case said.Len() > 0 || ctx.Err() != nil:
				err = errors.Join(err, run, errors.New(said.String()))
			}
		})
	}
	wg.Wait()
	return refused, err
}

// gate is an input that ends when it is opened.
type gate struct{ open chan struct{} }

// Read is part of io.Reader.
func (g *gate) Read([]byte) (int, error) {
	<-g.open
	return 0, io.EOF
}

// Restore is part of injectors.Fault.
func (*PIDs) Restore(_ context.Context, on target.Component, was injectors.Original) error {
	var before string
	if err := was.Read(&before); err != nil {
		return err
	}
	path, err := pidsFile(on, "pids.max")
	if err != nil {
		return err
	}
	err = os.WriteFile(path, []byte(before), 0)
	if errors.Is(err, os.ErrNotExist) { // the group is gone, and the limit with it
		return nil
	}
	if err != nil {
		return err
	}
	now, err := pidLimit(on)
	if err == nil && now != before {
		err = fmt.Errorf("pids.max is %s, was %s", now, before)
	}
	return err
}
