package gpu

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/process"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	injectortest.Victim(map[string]func() injectors.Fault{"throttle": throttle, "lost": lost})
	hoststest.Main(m)
}

func throttle() injectors.Fault {
	return &Throttle{To: 0.4, Over: unit.Duration(100 * time.Millisecond)}
}

func lost() injectors.Fault { return &Lost{} }

// busy is a process that uses one core, as an encoder would.
func busy(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it is told to end
	return cmd.Process.Pid
}

func TestConformanceWithCgroup(t *testing.T) {
	group, err := hoststest.Range(t).Group("encoders")
	if err != nil {
		t.Fatal(err)
	}
	if group.Version == 0 {
		t.Skip("this machine gives no cgroups")
	}
	if err := hosts.AddToCgroup(group, busy(t)); err != nil {
		t.Fatal(err)
	}
	on := target.Component{Name: "transcode", Handles: target.Handles{Encoder: &target.Encoder{Cgroup: group}}}
	injectortest.Run(t, injectortest.Case{Kind: "throttle", New: throttle, On: on, State: func() (any, error) { return quota{resource.Quota{Group: group}}.save() }})
}

// TestConformanceWithoutCgroup serves the encoders' state as the transcoder does. What may be left behind is a stopped
// process.
func TestConformanceWithoutCgroup(t *testing.T) {
	pid := busy(t)
	socket := filepath.Join(t.TempDir(), "s")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /encoders", func(w http.ResponseWriter, _ *http.Request) {
		state := target.EncoderState{PIDs: []int{pid}}
		if p, err := process.NewProcess(int32(pid)); err == nil {
			if times, err := p.Times(); err == nil {
				state.CPU = times.User + times.System
			}
		}
		_ = json.NewEncoder(w).Encode(state)
	})
	ctx := serve(t, socket, mux)
	on := target.Component{Name: "transcode", Handles: target.Handles{Encoder: &target.Encoder{Socket: socket}}}
	f := throttle()
	was, err := f.Save(ctx, on)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Inject(ctx, on); err != nil {
		t.Fatal(err)
	}
	m, err := f.Effect(ctx, on)
	if err != nil || !m.Bites {
		t.Errorf("in effect: %+v (%v)", m, err)
	}
	for range 2 {
		if err := f.Restore(ctx, on, was); err != nil {
			t.Fatal(err)
		}
	}
	if m, err = f.Effect(ctx, on); err != nil || !m.Clean {
		t.Errorf("after the restoration: %+v (%v)", m, err)
	}
	stopped := func() (any, error) {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		return err == nil && text[bytes.LastIndexByte(text, ')')+2] == 'T', err
	}
	if s, err := stopped(); err != nil || s == true {
		t.Errorf("the encoder is still stopped: %v (%v)", s, err)
	}
	injectortest.Killed(t, injectortest.Case{Kind: "throttle", New: throttle, On: on, State: stopped})
}

// serve answers on a Unix socket until the test ends.
func serve(t *testing.T, socket string, handler http.Handler) context.Context {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- record.ServeHTTP(ctx, l, handler) }()
	t.Cleanup(func() { cancel(); <-served })
	return ctx
}

// TestLost has an encoder that is started again whenever it ends, and puts out media while it runs.
func TestLost(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	var pid atomic.Int64
	var begun atomic.Int64 // nanoseconds since the epoch
	var media atomic.Int64 // nanoseconds of the encoders before
	mux := http.NewServeMux()
	mux.HandleFunc("GET /encoders", func(w http.ResponseWriter, _ *http.Request) {
		var state target.EncoderState
		out := media.Load()
		if p := pid.Load(); p > 0 {
			state.PIDs = []int{int(p)}
			out += time.Now().UnixNano() - begun.Load()
		}
		state.Media = time.Duration(out).Seconds()
		_ = json.NewEncoder(w).Encode(state)
	})
	ctx := serve(t, socket, mux)
	over := make(chan struct{})
	go func() {
		defer close(over)
		encoder := target.Program{Path: "sleep", Args: []string{"1000"},
			Started: func(p int) { begun.Store(time.Now().UnixNano()); pid.Store(int64(p)) },
			Ended:   func(*os.ProcessState) { media.Add(time.Now().UnixNano() - begun.Load()); pid.Store(0) }}
		_ = encoder.Keep(ctx, func(error) {})
	}()
	t.Cleanup(func() { <-over })
	on := target.Component{Name: "transcode", Handles: target.Handles{Encoder: &target.Encoder{Socket: socket}}}
	state := func() (any, error) {
		killing := injectors.Begun(new(Lost).name(on))
		if !killing {
			_ = target.WaitUntil(t.Context(), 2*time.Second, func() bool { return pid.Load() > 0 })
		}
		return killing, nil
	}
	if _, err := state(); err != nil {
		t.Fatal(err)
	}
	injectortest.Run(t, injectortest.Case{Kind: "lost", New: lost, On: on, State: state})
}
