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
	"strings"
	"sync"
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
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{"throttle": throttle, "overheat": overheat, "contention": contention, "lost": lost,
	"session-limit": sessionLimit})

func throttle() injectors.Fault {
	return &Throttle{To: 0.4, Over: unit.Duration(100 * time.Millisecond)}
}

func lost() injectors.Fault { return &Lost{} }

func contention() injectors.Fault { return &Contention{Encoders: 1} }

func sessionLimit() injectors.Fault { return &SessionLimit{Most: 1} }

func overheat() injectors.Fault {
	return &Overheat{Load: 95, Limit: 83, To: 0.4, Over: unit.Duration(500 * time.Millisecond)}
}

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
	state := func() (any, error) { return quota{resource.Quota{Group: group}}.save() }
	injectortest.Run(t, injectortest.Case{Kind: "throttle", New: throttle, On: on, State: state})
	t.Run("overheat", func(t *testing.T) {
		injectortest.Run(t, injectortest.Case{Kind: "overheat", Like: "throttle", New: overheat, On: on, State: func() (any, error) {
			was, err := quota{resource.Quota{Group: group}}.save()
			return map[string]any{"quota": was, "heated": injectors.Begun(new(Overheat).name(on))}, err
		}})
	})
	t.Run("contention", func(t *testing.T) {
		if _, err := exec.LookPath("ffmpeg"); err != nil {
			t.Skip("ffmpeg is not on this machine")
		}
		injectortest.Run(t, injectortest.Case{Kind: "contention", New: contention, On: on, State: func() (any, error) {
			var text []byte
			var err error
			_ = target.WaitUntil(t.Context(), time.Second, func() bool { // a victim's neighbours need a moment to die
				text, err = os.ReadFile(filepath.Join(group.CPU, "cgroup.procs"))
				return err != nil || strings.Count(string(text), "\n") == 1 || injectors.Begun(new(Contention).name(on))
			})
			return strings.Count(string(text), "\n"), err
		}})
	})
}

// TestHeatGoesToAndFro holds the model to what it is to be: a sawtooth between the limit and 5 °C below it, and never cut where the work
// does not heat the card that far.
func TestHeatGoesToAndFro(t *testing.T) {
	f := &Overheat{Load: 95, Limit: 83, To: 0.4, Over: unit.Duration(2 * time.Second)}
	h, cutFor, steps := heat{celsius: idleHeat}, 0, 1200
	for range steps {
		work := 1.0
		if h.cut {
			work, cutFor = float64(f.To), cutFor+1
		}
		h = h.after(heatStep, work, f)
	}
	// From 78 to 83 towards 95 it takes 2 s × ln(17/12) = 0.70 s, from 83 to 78 towards 56 2 s × ln(27/22) = 0.41 s: a turn is 1.1 s,
	// and the first one begins after 2 s × ln(65/12) = 3.4 s of the minute.
	if h.turns < 46 || h.turns > 54 {
		t.Errorf("the clocks were cut %d times in a minute, by the model's equation it is about 51 times", h.turns)
	}
	if share := float64(cutFor) / float64(steps); share < 0.3 || share > 0.42 {
		t.Errorf("they were cut %.0f%% of the time, by the equation it is about 35%%", share*100)
	}
	cool := heat{celsius: idleHeat}
	for range steps {
		cool = cool.after(heatStep, 0.5, f)
	}
	if cool.turns > 0 {
		t.Errorf("half the work, which settles at 62 °C, cut the clocks %d times", cool.turns)
	}
}

// TestSessionLimit has a transcoder with three encoders that keeps to what it is told.
func TestSessionLimit(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	var told target.Told[target.Sessions]
	mux := http.NewServeMux()
	if err := told.Handle(mux, socket); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []*exec.Cmd
	resize := func(n int) (pids []int) {
		mu.Lock()
		defer mu.Unlock()
		for len(open) > n {
			last := open[len(open)-1]
			open = open[:len(open)-1]
			_ = last.Process.Kill()
			_ = last.Wait()
		}
		for len(open) < n {
			cmd := exec.Command("sleep", "1000")
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return nil
			}
			open = append(open, cmd)
		}
		for _, cmd := range open {
			pids = append(pids, cmd.Process.Pid)
		}
		return pids
	}
	t.Cleanup(func() { resize(0) })
	mux.HandleFunc("GET /encoders", func(w http.ResponseWriter, _ *http.Request) {
		n := 3
		if now := told.Now(); now.Limited {
			n = min(n, now.Most)
		}
		_ = json.NewEncoder(w).Encode(target.EncoderState{PIDs: resize(n)})
	})
	serve(t, socket, mux)
	on := target.Component{Name: "transcode", Kind: "transcode", Socket: socket, Handles: target.Handles{Encoder: &target.Encoder{Socket: socket}}}
	injectortest.Run(t, injectortest.Case{Kind: "session-limit", New: sessionLimit, On: on, Wrong: target.Component{Name: "origin"},
		State: func() (any, error) { return told.Now(), nil }})
	if err := (&SessionLimit{Most: 3}).Check(t.Context(), on); err == nil {
		t.Error("a limit that nobody feels is taken")
	}
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
	stopped := func() (any, error) {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		return err == nil && text[bytes.LastIndexByte(text, ')')+2] == 'T', err
	}
	for name, kind := range map[string]func() injectors.Fault{"throttle": throttle, "overheat": overheat} {
		t.Run(name+"/is proven and gone again", func(t *testing.T) {
			f := kind()
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
			if s, err := stopped(); err != nil || s == true {
				t.Errorf("the encoder is still stopped: %v (%v)", s, err)
			}
		})
	}
	t.Run("killed", func(t *testing.T) {
		injectortest.Killed(t, injectortest.Case{Kind: "throttle", New: throttle, On: on, State: stopped})
	})
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
	t.Parallel()
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
			_ = target.WaitUntil(t.Context(), 10*time.Second, func() bool { return pid.Load() > 0 })
		}
		return killing, nil
	}
	if _, err := state(); err != nil {
		t.Fatal(err)
	}
	injectortest.Run(t, injectortest.Case{Kind: "lost", New: lost, On: on, State: state})
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte("frame=1\nfps=0.0\nfra"), []byte("me=3\nframe=2\n"))
	f.Add([]byte("frame= 18446744073709551615\n"), []byte("frame=x\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var frames atomic.Uint64
		p := &progress{frames: &frames}
		for _, text := range [][]byte{a, b} {
			if n, err := p.Write(text); n != len(text) || err != nil {
				t.Errorf("%d of %d bytes: %v", n, len(text), err)
			}
		}
	})
}

// TestWithoutRights does it once more as a user who has no cgroups and no card: encoders are stopped and continued.
func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^TestConformanceWithoutCgroup$/^(throttle|overheat)$")
}
