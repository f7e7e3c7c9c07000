package resource

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

// bare is a component without a cgroup, whose only process computes.
func bare(t *testing.T, r *hosts.Range, name string) target.Component {
	t.Helper()
	host, err := r.AddHost(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(hosts.Command{Name: name, Path: "md5sum", Args: []string{"/dev/zero"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(time.Second) })
	return target.Component{Name: name, Handles: target.Handles{Network: host.Network()}}
}

// bareState is whether a component's processes may run, and who else is there.
func bareState(ctx context.Context, on target.Component) (any, error) {
	turning := injectors.Begun(newTurns(on).work())
	pids, err := process.PIDs(on)
	if err != nil {
		return nil, err
	}
	held := 0
	for end := time.Now().Add(time.Second); !turning && time.Now().Before(end); { // one that is told to go on needs a moment
		if held = 0; len(pids) > 0 && process.Stopped(pids[0]) {
			held = 1
		}
		if held == 0 || !target.Wait(ctx, 10*time.Millisecond) {
			break
		}
	}
	neighbours := 0
	for _, line := range [][]string{burner, append([]string{"dd"}, (&Memory{Size: 32}).args()...)} {
		var there []int
		_ = target.WaitUntil(ctx, time.Second, func() bool { // a victim's go with it; those that stay are counted
			there, err = hosts.Running(target.Cgroup{}, line[0], line[1:]...)
			return err != nil || len(there) == 0
		})
		if err != nil {
			return nil, err
		}
		neighbours += len(there)
	}
	return fmt.Sprint(len(pids), " processes, in turns: ", turning, ", held: ", held, ", neighbours: ", neighbours), nil
}

// TestConformanceWithoutCgroup: what works all the same where the machine delegates none.
func TestConformanceWithoutCgroup(t *testing.T) {
	r := hoststest.Range(t)
	for _, name := range []string{"cpu", "cpu-burn", "memory"} {
		t.Run(name, func(t *testing.T) {
			on := bare(t, r, "bare-"+name)
			injectortest.Run(t, injectortest.Case{Kind: name, New: faults[name], On: on, State: func() (any, error) { return bareState(t.Context(), on) }})
		})
	}
}

// TestNobodyIsHeldTwice: two cycles on the same processes would undo one another.
func TestNobodyIsHeldTwice(t *testing.T) {
	r := hoststest.Range(t)
	on := bare(t, r, "twice")
	first := &CPU{Cores: 0.1}
	was, err := first.Save(t.Context(), on)
	if err == nil {
		err = first.Inject(t.Context(), on)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := (&CPU{Cores: 0.2}).Check(t.Context(), on); err == nil {
		t.Error("a second fault is let at processes that are stopped in turns")
	}
	if err := (&CPU{Cores: 0.1}).Restore(t.Context(), on, was); err != nil {
		t.Fatal(err)
	}
	if m, err := first.Effect(t.Context(), on); err != nil || !m.Clean {
		t.Errorf("after it: %+v, %v", m, err)
	}
}
