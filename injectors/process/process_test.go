package process

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"restart-loop":     func() injectors.Fault { return &RestartLoop{Every: unit.Duration(500 * time.Millisecond)} },
	"slow-start":       func() injectors.Fault { return &SlowStart{By: unit.Duration(10 * time.Second)} },
	"descriptors":      func() injectors.Fault { return &Descriptors{Spare: 4} },
	"connection-hoard": func() injectors.Fault { return &Hoard{Connections: 50} },
})

// supervised runs a real Redis on a host of its own, and starts it again whenever it ends.
func supervised(t testing.TB, r *hosts.Range, name string) target.Component {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not on this machine")
	}
	host, err := r.AddHost(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start := func() (*hosts.Process, error) {
		return host.Start(hosts.Command{Name: name, Path: path, Log: filepath.Join(dir, "log"),
			Args: []string{"--port", "6379", "--bind", host.Addr, "--protected-mode", "no", "--save", "", "--dir", dir}})
	}
	p, err := start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-ctx.Done():
				p.Stop(time.Second)
				return
			case <-p.Done():
			}
			if !target.Wait(ctx, 20*time.Millisecond) {
				return
			}
			if p, err = start(); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-over })
	on := target.Component{Name: name, Addr: host.Addr, Ports: map[string]int{"redis": 6379}, Handles: target.Handles{Network: host.Network()}}
	for end := time.Now().Add(5 * time.Second); ; {
		conns, err := dial(t.Context(), on, 1)
		closeAll(conns)
		if err == nil {
			return on
		}
		if time.Now().After(end) || !target.Wait(t.Context(), 20*time.Millisecond) {
			t.Fatal(err)
		}
	}
}

func TestConformance(t *testing.T) {
	r := hoststest.Range(t)
	for i, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			on := supervised(t, r, fmt.Sprintf("host%d", i))
			t.Parallel()
			injectortest.Run(t, injectortest.Case{Kind: name, New: faults[name], On: on, State: func() (any, error) { return state(t.Context(), on, name) }})
		})
	}
}

// state is all that these faults may change, once what watches over the component had the time for its work: how many
// processes there are and how many of them are stopped, their limits, and the connections from the bridge. While a fault is
// there that kills, its processes are others at every look.
func state(ctx context.Context, on target.Component, name string) (any, error) {
	killing := injectors.Begun(killName(on))
	for end, good := time.Now().Add(2*time.Second), 0; !killing && good < 3 && time.Now().Before(end); target.Wait(ctx, 10*time.Millisecond) {
		if good++; !well(ctx, on) { // one that is about to die may still look well
			good = 0
		}
	}
	list, err := limits(on)
	if err != nil {
		return nil, err
	}
	procs := make([]proc, len(list))
	var soft []uint64
	for i, l := range list {
		procs[i] = l.proc
		soft = append(soft, l.Soft)
	}
	held, err := clients.Connections(on)
	return fmt.Sprintf("killing %v, processes %d, stopped %d, limits %v, connections %d", killing, len(list), stopped(procs), soft, held), err
}

func TestFindRefusesOurOwnNamespace(t *testing.T) {
	on := target.Component{Handles: target.Handles{Network: &target.Network{Namespace: "/proc/self/ns/net"}}}
	if list, err := find(on); err == nil {
		t.Errorf("found %v: a fault would hit the machine itself", list)
	}
}

func TestAnotherProcessWithTheSameNumber(t *testing.T) {
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleep.Process.Kill(); _ = sleep.Wait() }()
	its, ok := StatOf(sleep.Process.Pid)
	if !ok {
		t.Fatal("its state cannot be read")
	}
	old := proc{sleep.Process.Pid, its.Start - 1}
	if err := old.signal(9); err != nil {
		t.Fatal(err)
	}
	if !(proc{sleep.Process.Pid, its.Start}).alive() {
		t.Error("a process was killed that only has the number of the one that was meant")
	}
}

// TestInside: what a server starts for itself, as nginx its workers, is told from what is started in its place.
func TestInside(t *testing.T) {
	host, err := hoststest.Range(t).AddHost("inside")
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(hosts.Command{Name: "inside", Path: "/bin/sh", Args: []string{"-c", "sleep 60 & wait"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{on: target.Component{Handles: target.Handles{Network: host.Network()}}}
	t.Cleanup(func() { list, _ := w.find(); _ = signalAll(list, syscall.SIGKILL); <-p.Done() })
	seen := map[bool]int{}
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool {
		seen = map[bool]int{}
		list, err := w.find()
		for _, p := range list {
			seen[w.inside(p)]++
		}
		return err == nil && seen[true] == 1 && seen[false] == 1
	}); err != nil {
		t.Errorf("%d were started by another on the host, %d by somebody else: %v", seen[true], seen[false], err)
	}
}

func TestUnborn(t *testing.T) {
	sleep := func(seconds string) int {
		cmd := exec.Command("sleep", seconds)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	child, parent, other := sleep("60"), sleep("60"), sleep("61")
	var elsewhere unix.Stat_t
	if !unborn(child, parent, elsewhere) {
		t.Error("a process that is not yet what its parent starts may be stopped, and the parent waits for ever")
	}
	if unborn(child, other, elsewhere) {
		t.Error("a process that became another program is not found")
	}
	if unborn(child, parent, own) {
		t.Error("a worker of a server on the same host is not found")
	}
}

func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^TestConformance$/./^(is_proven|another)")
}
