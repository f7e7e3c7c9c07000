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
			l, err := net.Listen("unix", filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			var sickUntil atomic.Int64 // of the Unix epoch, in nanoseconds
			if c.sick {
				sickUntil.Store(time.Now().Add(time.Hour).UnixNano())
			}
			server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if time.Now().UnixNano() < sickUntil.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})}
			served := make(chan struct{})
			go func() { defer close(served); _ = server.Serve(l) }() // it is closed
			t.Cleanup(func() { server.Close(); <-served })
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
				On: target.Component{Name: "somebody", Socket: l.Addr().String()}})
			if out.State != c.want {
				t.Errorf("%s (%v), want %s", out.State, out.Err, c.want)
			}
		})
	}
}
