package resource

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"cpu":         func() injectors.Fault { return &CPU{Cores: 0.1} },
	"cpu-burn":    func() injectors.Fault { return &Burn{Processes: 1} },
	"memory":      func() injectors.Fault { return &Memory{Size: 32} },
	"oom":         func() injectors.Fault { return &OOM{} },
	"pids":        func() injectors.Fault { return &PIDs{} },
	"disk-full":   func() injectors.Fault { return &DiskFull{Spare: 16} },
	"disk-slow":   func() injectors.Fault { return &DiskSlow{By: unit.Duration(20 * time.Millisecond)} },
	"disk-errors": func() injectors.Fault { return &DiskErrors{Share: 0.1, Of: "all"} },
})

// component is a host in whose group something computes and holds memory; what the kernel kills is started again.
func component(t testing.TB, r *hosts.Range, name string) target.Component {
	t.Helper()
	host, err := r.AddHost(name)
	if err != nil {
		t.Fatal(err)
	}
	on := target.Component{Name: name, Handles: target.Handles{Network: host.Network(), Disk: filepath.Join(t.TempDir(), "disk")}}
	if err := hosts.MakeDisk(on.Handles.Disk); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(on.Handles.Disk, unix.MNT_DETACH) })
	if host.Cgroup.Version == 0 {
		return on
	}
	on.Handles.Cgroup = &host.Cgroup
	ctx, cancel := context.WithCancel(t.Context())
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		into := func(pid int) {
			if err := hosts.AddToCgroup(host.Cgroup, pid); err != nil {
				t.Error(err)
			}
		}
		_ = target.Together(ctx,
			func(ctx context.Context) error {
				return target.Program{Path: "md5sum", Args: []string{"/dev/zero"}, Started: into}.Keep(ctx, func(error) {})
			},
			func(ctx context.Context) error {
				// What it takes before it is in the group is another's: it takes nothing until then.
				return target.Program{Path: "sh", Args: []string{"-c", "sleep 0.05; exec dd if=/dev/zero bs=64M count=1 status=none"}, Output: write, Started: into}.Keep(ctx, func(error) {})
			})
	}()
	t.Cleanup(func() { cancel(); <-over; read.Close(); write.Close() })
	return on
}

// driven puts a component's disk behind one that can be told what to do.
func driven(t testing.TB, r *hosts.Range, on target.Component) target.Component {
	t.Helper()
	dir, err := os.MkdirTemp("", "livedrill") // t.TempDir is too long for Unix sockets
	if err != nil {
		t.Fatal(err)
	}
	c := target.Config{Name: "disk-" + on.Name, Dir: filepath.Join(dir, "seen"), Below: on.Handles.Disk, Socket: filepath.Join(dir, "s")}
	p, err := disk.Start(t.Context(), r.Own(), c, filepath.Join(dir, "log"))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { p.Stop(time.Second); os.RemoveAll(dir) })
	on.Handles.Drive = &target.Drive{Dir: c.Dir, Socket: c.Socket}
	return on
}

func TestConformance(t *testing.T) {
	r := hoststest.Range(t)
	if _, err := exec.LookPath("md5sum"); err != nil {
		t.Skip("coreutils are not on this machine")
	}
	for i, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			on := component(t, r, fmt.Sprintf("host%d", i))
			if strings.HasPrefix(name, "disk-") && name != "disk-full" {
				on = driven(t, r, on)
			}
			if on.Handles.Cgroup == nil && !strings.HasPrefix(name, "disk") || name == "pids" && on.Handles.Cgroup.PIDs == "" {
				t.Skip("this machine gives no such cgroup")
			}
			injectortest.Run(t, injectortest.Case{Kind: name, New: faults[name], On: on, State: func() (any, error) { return state(t.Context(), on) }})
		})
	}
}

// state is all that these faults may change: quota, limit, processes of the group once the dead ones were started again, and
// files.
func state(ctx context.Context, on target.Component) (any, error) {
	out := map[string]string{}
	if g := on.Handles.Cgroup; g != nil {
		quota, err := Quota{*g}.Save()
		if err != nil {
			return nil, err
		}
		limit, err := memoryLimit(*g)
		if err != nil {
			return nil, err
		}
		out["quota"], out["limit"] = fmt.Sprint(quota), fmt.Sprint(limit)
		if g.PIDs != "" {
			if out["pids"], err = pidLimit(on); err != nil {
				return nil, err
			}
		}
		var pids []string
		_ = target.WaitUntil(ctx, 2*time.Second, func() bool { // both of the component's own, and none of a victim's
			pids, err = processes(*g)
			held, _ := memory(*g)
			return err != nil || (len(pids) == 2 || injectors.Begun(hog{}.name(on))) && (held > 60<<20 || limit < 1<<50)
		})
		if err != nil {
			return nil, err
		}
		if limit >= 1<<50 {
			out["processes"] = fmt.Sprint(len(pids))
		}
	}
	if on.Handles.Drive != nil {
		told, err := target.HasBeenTold[target.Disk](ctx, disk.Of(on), disk.Kind)
		if err != nil {
			return nil, err
		}
		out["told"] = fmt.Sprint(told)
	}
	files, err := os.ReadDir(on.Handles.Disk)
	out["files"] = fmt.Sprint(len(files))
	return out, err
}

// TestADiskThatDoesNotListen takes no order for its effect: a disk that was told nothing neither fails nor is slow.
func TestADiskThatDoesNotListen(t *testing.T) {
	r := hoststest.Range(t)
	on := driven(t, r, component(t, r, "deaf"))
	for _, name := range []string{"disk-errors", "disk-slow"} {
		m, err := faults[name]().Effect(t.Context(), on)
		if err != nil || m.Bites || !m.Clean {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestASharedDiskIsNotFilled(t *testing.T) {
	on := target.Component{Handles: target.Handles{Disk: t.TempDir()}}
	if err := new(DiskFull).Check(t.Context(), on); err == nil {
		t.Error("a directory of a file system that others live on as well is taken")
	}
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^TestConformance(WithoutCgroup)?$/./^is_proven")
}
