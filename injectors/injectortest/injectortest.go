// Package injectortest is what every kind of fault must hold: it changes nothing before it is injected, its effect is
// measured by something other than the knob, it is gone after the restoration, and a process other than the one that
// injected it can restore it, any number of times, from any half-applied state.
package injectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Case is one kind of fault on a component on which it works.
type Case struct {
	Kind  string // the name that Victim knows it by
	Like  string // another case that is killed in the place of this one, but in make crash: they save, change and restore alike
	New   func() injectors.Fault
	On    target.Component
	Wrong target.Component    // a component on which it cannot work
	State func() (any, error) // all that the fault may change, to be compared
}

// Run tries the promises.
func Run(t *testing.T, c Case) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	before := c.state(t)

	t.Run("is refused where it cannot work", func(t *testing.T) {
		if err := c.New().Check(ctx, c.Wrong); err == nil {
			t.Error("Check accepts a component that has nothing to hold it by")
		}
	})
	t.Run("changes nothing before it is injected", func(t *testing.T) {
		f := c.New()
		c.begin(ctx, t, f)
		c.unchanged(t, before)
	})
	t.Run("is proven and gone again", func(t *testing.T) {
		f := c.New()
		was := c.begin(ctx, t, f)
		must(t, f.Inject(ctx, c.On))
		if reflect.DeepEqual(c.state(t), before) {
			t.Error("Inject changed nothing")
		}
		Proven(ctx, t, f, c.On)
		must(t, f.Restore(ctx, c.On, was))
		Gone(ctx, t, f, c.On)
		c.unchanged(t, before)
	})
	t.Run("another process restores it, twice", func(t *testing.T) {
		f := c.New()
		was := c.begin(ctx, t, f)
		must(t, f.Inject(ctx, c.On))
		for range 2 {
			other := c.copied(t, f)
			must(t, other.Restore(ctx, c.On, was))
		}
		c.unchanged(t, before)
	})
	t.Run("is restored without having been injected", func(t *testing.T) {
		f := c.New()
		must(t, f.Restore(ctx, c.On, c.begin(ctx, t, f)))
		c.unchanged(t, before)
	})
	t.Run("leaves nothing when it is cut off", func(t *testing.T) {
		f := c.New()
		was := c.begin(ctx, t, f)
		short, cut := context.WithTimeout(ctx, time.Millisecond)
		defer cut()
		if err := f.Inject(short, c.On); err == nil {
			must(t, f.Restore(ctx, c.On, was)) // it was quicker than that
		}
		c.unchanged(t, before)
	})
	t.Run("has the whole life under the runner", func(t *testing.T) { c.life(ctx, t, before) })
	t.Run("leaves nothing when its process is killed at any step", func(t *testing.T) {
		if c.Like != "" && !killAll() {
			t.Skipf("%s is killed in its place", c.Like)
		}
		Killed(t, c)
	})
}

// life runs the fault as a drill does, and reads the journal as recover does.
func (c Case) life(ctx context.Context, t *testing.T, before any) {
	path := t.TempDir() + "/journal"
	journal, err := injectors.OpenJournal(path)
	must(t, err)
	defer journal.Close()
	var seen []string
	open := -1
	r := &injectors.Runner{Journal: journal, Notify: func(kind string, _ map[string]any) {
		seen = append(seen, kind)
		if kind == "fault.effective" {
			entries, err := injectors.Unfinished(path)
			must(t, err)
			open = len(entries)
		}
	}}
	out := r.Run(ctx, injectors.Order{ID: "f1", Kind: "test", Fault: c.New(), On: c.On, For: 1500 * time.Millisecond})
	if out.State != injectors.Restored || out.Err != nil {
		t.Errorf("%s: %v", out.State, out.Err)
	}
	want := []string{"fault.check", "fault.inject", "fault.effective", "fault.proven", "fault.restore", "fault.undone", "fault.clean"}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("events %v, want %v", seen, want)
	}
	left, err := injectors.Unfinished(path)
	must(t, err)
	if open != 1 || len(left) != 0 {
		t.Errorf("the journal had %d open faults during it and %d after it, want 1 and 0", open, len(left))
	}
	c.unchanged(t, before)
}

func (c Case) begin(ctx context.Context, t *testing.T, f injectors.Fault) injectors.Original {
	t.Helper()
	must(t, f.Check(ctx, c.On))
	was, err := f.Save(ctx, c.On)
	must(t, err)
	return was
}

// Inject puts a fault on a component, as the runner does, and gives what puts back what was there.
func Inject(t *testing.T, f injectors.Fault, on target.Component) (restore func()) {
	t.Helper()
	must(t, f.Check(t.Context(), on))
	was, err := f.Save(t.Context(), on)
	must(t, err)
	must(t, f.Inject(t.Context(), on))
	return func() {
		t.Helper()
		must(t, f.Restore(t.Context(), on, was))
	}
}

// Proven looks at a fault that is there until it bites, and no more often than the runner would have time for: one look alone is easily
// disturbed on a busy machine.
func Proven(ctx context.Context, t *testing.T, f injectors.Fault, on target.Component) {
	t.Helper()
	look(ctx, t, f, on, 3, func(m injectors.Measured) bool { return m.Bites && !m.Clean && m.N > 0 })
}

// Gone does the same with one that was restored.
func Gone(ctx context.Context, t *testing.T, f injectors.Fault, on target.Component) {
	t.Helper()
	look(ctx, t, f, on, 10, func(m injectors.Measured) bool { return m.Clean })
}

func look(ctx context.Context, t *testing.T, f injectors.Fault, on target.Component, times int, good func(injectors.Measured) bool) {
	t.Helper()
	var m injectors.Measured
	for range times {
		var err error
		m, err = f.Effect(ctx, on)
		must(t, err)
		if good(m) {
			return
		}
	}
	t.Errorf("it measures %+v", m)
}

// copied is the fault as another process would make it from the journal.
func (c Case) copied(t *testing.T, f injectors.Fault) injectors.Fault {
	t.Helper()
	text, err := json.Marshal(f)
	must(t, err)
	other := c.New()
	must(t, json.Unmarshal(text, other))
	return other
}

func (c Case) state(t *testing.T) any {
	t.Helper()
	s, err := c.State()
	must(t, err)
	return s
}

func (c Case) unchanged(t *testing.T, before any) {
	t.Helper()
	if now := c.state(t); !reflect.DeepEqual(now, before) {
		t.Errorf("left behind: %v, before it was %v", now, before)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Broken is a fault that fails where it is told to: it tries the runner.
type Broken struct {
	At                string // check, save, inject, effect, restore, or "" for none
	Toothless, Sticky bool
	Weak              int           // looks that are disturbed at first
	Fades             bool          // it is seen once, and is gone
	Hangs             chan struct{} `json:"-"` // a step that hangs until it is closed, whatever its context says, instead of failing
	Once              bool          // it fails the first time only
	Until             func() bool   `json:"-"` // it fails until that is so
	Restores          int

	looks int
}

var errBroken = errors.New("told to fail")

func (b *Broken) at(step string) error {
	if b.At == step {
		if b.Hangs != nil {
			<-b.Hangs
			return errBroken
		}
		if b.Once {
			b.At = ""
		}
		if b.Until != nil && b.Until() {
			return nil
		}
		return fmt.Errorf("%s: %w", step, errBroken)
	}
	return nil
}

// Check is part of injectors.Fault.
func (b *Broken) Check(context.Context, target.Component) error { return b.at("check") }

// Save is part of injectors.Fault.
func (b *Broken) Save(context.Context, target.Component) (injectors.Original, error) {
	o, err := injectors.Keep("before")
	return o, errors.Join(err, b.at("save"))
}

// Inject is part of injectors.Fault.
func (b *Broken) Inject(context.Context, target.Component) error { return b.at("inject") }

// Effect is part of injectors.Fault.
func (b *Broken) Effect(context.Context, target.Component) (injectors.Measured, error) {
	if err := b.at("effect"); err != nil { // one that hung looks at nothing more: it has been left behind
		return injectors.Measured{}, err
	}
	b.looks++
	bites := !b.Toothless && b.looks > b.Weak && (!b.Fades || b.looks == 1) && b.Restores == 0
	return injectors.Measured{N: 1, Bites: bites, Clean: b.Restores > 0 && !b.Sticky, Reason: "as told"}, nil
}

// Restore is part of injectors.Fault.
func (b *Broken) Restore(context.Context, target.Component, injectors.Original) error {
	b.Restores++
	return b.at("restore")
}
