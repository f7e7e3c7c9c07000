package injectors_test

import (
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
)

// patient is a component that says whether it is well.
func patient(t *testing.T, dir string, sick func() bool) target.Component {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }() // it is closed
	t.Cleanup(func() { server.Close(); <-served })
	return target.Component{Name: "somebody", Socket: l.Addr().String()}
}

// TestHealth: a component that could work before its fault must be able to after it; one that could not says nothing of the fault.
func TestHealth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		sick     bool          // before
		recovers time.Duration // after the restoration
		want     string
	}{
		{name: "well again", recovers: 300 * time.Millisecond, want: injectors.Restored},
		{name: "sick before", sick: true, recovers: time.Hour, want: injectors.Restored},
		{name: "sick for good", recovers: time.Hour, want: injectors.NotRestored},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var sickUntil atomic.Int64 // of the Unix epoch, in nanoseconds
			if c.sick {
				sickUntil.Store(time.Now().Add(time.Hour).UnixNano())
			}
			somebody := patient(t, dir, func() bool { return time.Now().UnixNano() < sickUntil.Load() })
			journal, err := injectors.OpenJournal(filepath.Join(dir, "journal"))
			if err != nil {
				t.Fatal(err)
			}
			defer journal.Close()
			r := &injectors.Runner{Journal: journal, Notify: func(kind string, _ map[string]any) {
				if kind == "fault.restore" {
					sickUntil.Store(time.Now().Add(c.recovers).UnixNano())
				}
			}}
			out := r.Run(t.Context(), injectors.Order{ID: "f1", Fault: &injectortest.Broken{}, For: time.Second,
				On: somebody})
			if out.State != c.want {
				t.Errorf("%s (%v), want %s", out.State, out.Err, c.want)
			}
		})
	}
}

// TestHealthOfMany: while another fault is there nobody is asked; whoever cannot work is told of when the last one is over, and at the end.
func TestHealthOfMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var sick, told atomic.Bool
	somebody := patient(t, dir, sick.Load)
	journal, err := injectors.OpenJournal(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	g := &injectors.Group{Runner: &injectors.Runner{Journal: journal, Notify: func(kind string, details map[string]any) {
		switch {
		case kind == "fault.restore" && details["fault"] == "f1":
			sick.Store(true)
		case kind == "fault.not-restored" && details["fault"] == "f1":
			told.Store(true)
		}
	}}}
	first := g.Start(t.Context(), injectors.Order{ID: "f1", Fault: &injectortest.Broken{}, For: 100 * time.Millisecond, On: somebody})
	second := g.Start(t.Context(), injectors.Order{ID: "f2", Fault: &injectortest.Broken{}, For: time.Minute, On: target.Component{Name: "another"}})
	if out := first.Outcome(); out.State != injectors.Restored {
		t.Errorf("while the other is there: %s (%v)", out.State, out.Err)
	}
	second.End()
	if second.Outcome(); !told.Load() {
		t.Error("nobody was told when the last one was over")
	}
	out := g.End()
	if out[0].State != injectors.NotRestored || out[0].Err == nil || out[1].State != injectors.Restored {
		t.Errorf("at the end: %s (%v), and the other %s (%v)", out[0].State, out[0].Err, out[1].State, out[1].Err)
	}
}
