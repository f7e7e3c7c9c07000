package injectors_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
)

// TestRunnerIsHonest gives the runner faults that fail at every step of their life.
func TestRunnerIsHonest(t *testing.T) {
	for _, c := range []struct {
		name     string
		fault    injectortest.Broken
		want     string
		restores bool // it must have tried to restore
		open     int  // faults left in the journal
	}{
		{"sound", injectortest.Broken{}, injectors.Restored, true, 0},
		{"first looks disturbed", injectortest.Broken{Weak: 3}, injectors.Restored, true, 0},
		{"refused", injectortest.Broken{At: "check"}, injectors.NotInjected, false, 0},
		{"nothing can be saved", injectortest.Broken{At: "save"}, injectors.NotInjected, false, 0},
		{"fails half-way", injectortest.Broken{At: "inject"}, injectors.NotInjected, true, 0},
		{"without effect", injectortest.Broken{Toothless: true}, injectors.NotInjected, true, 0},
		{"effect cannot be read", injectortest.Broken{At: "effect"}, injectors.NotRestored, true, 1},
		{"cannot be restored", injectortest.Broken{At: "restore"}, injectors.NotRestored, true, 1},
		{"effect stays", injectortest.Broken{Sticky: true}, injectors.NotRestored, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "journal")
				journal, err := injectors.OpenJournal(path)
				if err != nil {
					t.Fatal(err)
				}
				defer journal.Close()
				fault := c.fault
				r := &injectors.Runner{Journal: journal, Notify: func(string, map[string]any) {}}
				out := r.Run(t.Context(), injectors.Order{ID: "f1", Fault: &fault, For: 10 * time.Second})
				if out.State != c.want || fault.Restores > 0 != c.restores {
					t.Errorf("%s after %d restores (%v), want %s", out.State, fault.Restores, out.Err, c.want)
				}
				left, err := injectors.Unfinished(path)
				if err != nil || len(left) != c.open {
					t.Errorf("%d faults left in the journal (%v), want %d", len(left), err, c.open)
				}
				if late, err := injectors.Overdue(path, time.Now().Add(time.Hour)); err != nil || len(late) > 0 {
					t.Errorf("nothing hangs, and these are overdue: %+v (%v)", late, err)
				}
			})
		})
	}
}

// TestEndOfTheHold looks at a fault once more before it is restored, without making it longer.
func TestEndOfTheHold(t *testing.T) {
	for _, c := range []struct {
		name         string
		fault        injectortest.Broken
		looked, told bool
	}{
		{"lasts", injectortest.Broken{}, true, false},
		{"fades", injectortest.Broken{Fades: true}, true, true},
		{"was seen too late to be looked at again", injectortest.Broken{Weak: 20}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal, err := injectors.OpenJournal(filepath.Join(t.TempDir(), "journal"))
				if err != nil {
					t.Fatal(err)
				}
				defer journal.Close()
				told := false
				r := &injectors.Runner{Journal: journal, Notify: func(kind string, _ map[string]any) { told = told || kind == "fault.faded" }}
				out := r.Run(t.Context(), injectors.Order{ID: "f1", Fault: &c.fault, For: 4 * time.Second})
				if out.State != injectors.Restored || out.AtEnd != nil != c.looked || told != c.told || c.looked && out.AtEnd.Bites == c.told {
					t.Errorf("%s, at its end %+v, told %t", out.State, out.AtEnd, told)
				}
				if held := out.Restored.Sub(out.Effective); held != 4*time.Second {
					t.Errorf("it was held for %s", held)
				}
			})
		})
	}
}

// TestRunnerRestoresWhenTheRunEnds cuts a fault short.
func TestRunnerRestoresWhenTheRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, err := injectors.OpenJournal(filepath.Join(t.TempDir(), "journal"))
		if err != nil {
			t.Fatal(err)
		}
		defer journal.Close()
		g := &injectors.Group{Runner: &injectors.Runner{Journal: journal, Notify: func(string, map[string]any) {}}}
		ctx, cancel := context.WithCancel(t.Context())
		g.Start(ctx, injectors.Order{ID: "f1", Fault: &injectortest.Broken{}, For: time.Hour})
		g.Start(ctx, injectors.Order{ID: "f2", Fault: &injectortest.Broken{}, For: time.Hour})
		synctest.Wait()
		cancel()
		start := time.Now()
		for _, o := range g.End() {
			if o.State != injectors.Restored {
				t.Errorf("%s is %s: %v", o.ID, o.State, o.Err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestHangingSteps: a step that never comes back is left behind, and the fault is restored all the same.
func TestHangingSteps(t *testing.T) {
	for step, want := range map[string]string{"check": injectors.NotInjected, "inject": injectors.NotRestored, "effect": injectors.NotRestored} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal, err := injectors.OpenJournal(filepath.Join(t.TempDir(), "journal"))
				if err != nil {
					t.Fatal(err)
				}
				defer journal.Close()
				hang := make(chan struct{})
				defer close(hang)
				fault := &injectortest.Broken{At: step, Hangs: hang}
				r := &injectors.Runner{Journal: journal, Notify: func(string, map[string]any) {}}
				start := time.Now()
				out := r.Run(t.Context(), injectors.Order{ID: "f1", Fault: fault, For: time.Hour})
				if out.State != want || out.Err == nil || (step != "check") != (fault.Restores > 0) {
					t.Errorf("%s after %d restores: %v", out.State, fault.Restores, out.Err)
				}
				if took := time.Since(start); took > time.Minute {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestRestorationIsTriedAgain: what was in its way may have gone meanwhile.
func TestRestorationIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, err := injectors.OpenJournal(filepath.Join(t.TempDir(), "journal"))
		if err != nil {
			t.Fatal(err)
		}
		defer journal.Close()
		fault := &injectortest.Broken{At: "restore", Once: true}
		r := &injectors.Runner{Journal: journal, Notify: func(string, map[string]any) {}}
		if out := r.Run(t.Context(), injectors.Order{ID: "f1", Fault: fault, For: time.Second}); out.State != injectors.Restored || fault.Restores != 2 {
			t.Errorf("%s after %d restores: %v", out.State, fault.Restores, out.Err)
		}
	})
}

// TestWhatIsInTheWayGoes: what could not be restored while another fault was there is tried again after it.
func TestWhatIsInTheWayGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, err := injectors.OpenJournal(filepath.Join(t.TempDir(), "journal"))
		if err != nil {
			t.Fatal(err)
		}
		defer journal.Close()
		g := &injectors.Group{Runner: &injectors.Runner{Journal: journal, Notify: func(string, map[string]any) {}}}
		other := &injectortest.Broken{}
		blocked := &injectortest.Broken{At: "restore", Until: func() bool { return other.Restores > 0 }}
		g.Start(t.Context(), injectors.Order{ID: "f1", Fault: other, For: time.Hour})
		synctest.Wait()
		g.Start(t.Context(), injectors.Order{ID: "f2", Fault: blocked, For: time.Second})
		for _, o := range g.End() {
			if o.State != injectors.Restored || o.Err != nil {
				t.Errorf("%s is %s: %v", o.ID, o.State, o.Err)
			}
		}
	})
}

// TestTakes: what two faults both need keeps them apart, whatever else each needs.
func TestTakes(t *testing.T) {
	for _, c := range []struct{ a, b, both string }{{"memory, writes", "role, writes", "writes"}, {"memory", "role", ""}, {"", "", ""}, {"keys", "keys", "keys"}} {
		if got := (injectors.Kind{Takes: c.a}).Fights(injectors.Kind{Takes: c.b}); got != c.both {
			t.Errorf("%q and %q both need %q, want %q", c.a, c.b, got, c.both)
		}
	}
}

// TestFullJournal: a fault that cannot be noted is not injected.
func TestFullJournal(t *testing.T) {
	journal, err := injectors.OpenJournal("/dev/full")
	if err != nil {
		t.Skip(err)
	}
	defer journal.Close()
	fault := &injectortest.Broken{}
	r := &injectors.Runner{Journal: journal, Notify: func(string, map[string]any) {}}
	if out := r.Run(t.Context(), injectors.Order{ID: "f1", Fault: fault, For: time.Second}); out.State != injectors.NotInjected || !out.Injected.IsZero() || fault.Restores > 0 {
		t.Errorf("%s, injected at %s, %d restores: %v", out.State, out.Injected, fault.Restores, out.Err)
	}
}

// TestTornJournal reads a journal whose writer died in the middle of a line.
func TestTornJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	journal, err := injectors.OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []injectors.Entry{{Fault: "f1", Kind: "a"}, {Fault: "f2", Kind: "b"}, {Fault: "f1", Restored: true}} {
		if err := journal.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"fault":"f3","ki`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	open, err := injectors.Unfinished(path)
	if err != nil || len(open) != 1 || open[0].Fault != "f2" {
		t.Errorf("%+v (%v), want f2 alone", open, err)
	}
	// What comes behind a torn line, once the disk has room again, is not lost with it.
	if journal, err = injectors.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(journal.Write(injectors.Entry{Fault: "f4", Kind: "c"}), journal.Close()); err != nil {
		t.Fatal(err)
	}
	if open, err = injectors.Unfinished(path); err != nil || len(open) != 2 || open[0].Fault != "f4" {
		t.Errorf("%+v (%v), want f4 and f2", open, err)
	}
}

// TestOverdue: what should be over hangs, unless it is, or somebody said that it could not be restored.
func TestOverdue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	journal, err := injectors.OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	now := time.Now()
	past, future := now.Add(-time.Second), now.Add(time.Second)
	for _, e := range []injectors.Entry{{Fault: "f1", Until: past}, {Fault: "f2", Until: future}, {Fault: "f3", Until: past}, {Fault: "f4", Until: past},
		{Fault: "f3", Restored: true}, {Fault: "f4", GivenUp: true}} {
		if err := journal.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	late, err := injectors.Overdue(path, now)
	if err != nil || len(late) != 1 || late[0].Fault != "f1" {
		t.Errorf("overdue: %+v (%v), want f1", late, err)
	}
	if open, err := injectors.Unfinished(path); err != nil || len(open) != 3 {
		t.Errorf("unfinished: %+v (%v), want f4, f2 and f1", open, err)
	}
}
