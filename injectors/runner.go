package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livedrill/livedrill/target"
)

// The states in which a fault can end.
const (
	Restored    = "restored"
	NotInjected = "not-injected"
	NotRestored = "not-restored"
)

// Order is one fault to be put on one component for a time.
type Order struct {
	ID    string
	Kind  string
	Fault Fault
	On    target.Component
	For   time.Duration
	Takes string // what of the component it has for itself, by commas
	By    string // who gave it, if not whoever began the run
}

// Outcome is what became of an order. The times are those of the order to inject, of the full effect, of the order to
// restore, of its end, and of the proof that nothing is left.
type Outcome struct {
	Order
	BackEnd   string
	Injected  time.Time
	Effective time.Time
	Restored  time.Time
	Undone    time.Time
	Clean     time.Time
	Measured  Measured
	AtEnd     *Measured // just before the restoration; nil when it was too short, was cut short, or could not be looked at
	Unseen    error     // why it could not
	After     Measured
	State     string
	Err       error
	Mend      string // of a fault that is not restored: the command that does it by hand; empty: it ends with the range

	before
	failed  error  // before the restoration
	undone  func() // is told when Restore is over, and its proof begins
	unasked bool   // whether the component can work after it
	sick    bool   // it cannot, though all was put back
}

// Runner gives every fault its life. Faults may overlap.
type Runner struct {
	Journal *Journal
	Notify  func(kind string, details map[string]any)
	mu      sync.Mutex
	taken   map[string]string // by component and what is taken of it, the fault that has it
	live    int               // faults from their preparation to the proof of their end
}

// count notes that faults begin, or are over, and gives how many are there then.
func (r *Runner) count(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live += n
	return r.live
}

// take gives an order what it needs for itself, or says who has it. give is to be called when the order is over.
func (r *Runner) take(o Order) (give func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, thing := range things(o.Takes) {
		if other := r.taken[o.On.Name+" "+thing]; other != "" {
			return nil, fmt.Errorf("%s on %s: %s is there, and both need its %s", o.Kind, o.On.Name, other, thing)
		}
	}
	if r.taken == nil {
		r.taken = map[string]string{}
	}
	for _, thing := range things(o.Takes) {
		r.taken[o.On.Name+" "+thing] = o.Kind
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, thing := range things(o.Takes) {
			delete(r.taken, o.On.Name+" "+thing)
		}
	}, nil
}

// Busy tells which kind of fault has one of some things of a component now; "" is none.
func (r *Runner) Busy(component string, things ...string) (kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, thing := range things {
		if kind = r.taken[component+" "+thing]; kind != "" {
			break
		}
	}
	return kind
}

const (
	saveLimit    = 5 * time.Second
	injectLimit  = 15 * time.Second
	effectLimit  = 10 * time.Second
	restoreLimit = 15 * time.Second
	proofLimit   = 3 * time.Second  // for the effect to be seen, or to be gone
	healthLimit  = 10 * time.Second // for the component to be able to work again

	// hangLimit is more than all steps of a fault together can take beyond its time: each of its limit and the grace behind it.
	hangLimit = injectLimit + 3*effectLimit + 2*proofLimit + restoreLimit + healthLimit + 6*stepGrace
)

// Run carries an order out and returns when the fault is restored, or could not be. When ctx ends, the fault is restored
// at once.
func (r *Runner) Run(ctx context.Context, o Order) Outcome { return r.run(ctx, o, func() {}) }

func (r *Runner) run(ctx context.Context, o Order, undone func()) Outcome {
	out := Outcome{Order: o, State: NotInjected, undone: undone}
	r.count(1)
	defer r.count(-1)
	give, err := r.take(o)
	if err == nil {
		defer give()
		r.note("fault.check", o, nil)
		out.before, err = r.prepare(ctx, o)
	}
	out.BackEnd = BackEnd(o.Fault)
	if err != nil {
		out.Err = err
		r.note("fault.refused", o, map[string]any{"error": err.Error()})
		return out
	}
	r.note("fault.inject", o, map[string]any{"back_end": out.BackEnd}) // it may take a moment: the record is read at this boundary
	out.Injected = time.Now()
	_, err = within(ctx, injectLimit, func(ctx context.Context) (struct{}, error) { return struct{}{}, o.Fault.Inject(ctx, o.On) })
	if err == nil {
		out.Effective = time.Now()
		r.note("fault.effective", o, nil)
		out.Measured, err = r.look(ctx, o, time.Now().Add(proofLimit), func(m Measured) bool { return m.Bites })
	}
	if err != nil {
		out.failed = fmt.Errorf("inject %s on %s: %w", o.Kind, o.On.Name, err)
	}
	if err == nil && out.Measured.Bites {
		r.note("fault.proven", o, map[string]any{"asked": out.Measured.Asked, "is": out.Measured.Is, "n": out.Measured.N})
		r.hold(ctx, &out)
	} else if err == nil {
		r.note("fault.without-effect", o, map[string]any{"reason": out.Measured.Reason})
	}
	r.restore(ctx, &out)
	return out
}

// before is what was found before anything was changed.
type before struct {
	was  Original
	well bool // it said that it can work
}

// prepare checks, saves and journals: nothing is changed by it.
func (r *Runner) prepare(ctx context.Context, o Order) (before, error) {
	found, err := within(ctx, saveLimit, func(ctx context.Context) (b before, err error) {
		if err := o.Fault.Check(ctx, o.On); err != nil {
			return b, err
		}
		if b.was, err = o.Fault.Save(ctx, o.On); err != nil {
			return b, fmt.Errorf("read what is there: %w", err)
		}
		b.well = o.On.Socket != "" && o.On.Healthy(ctx) == nil
		return b, nil
	})
	var settings []byte
	if err == nil {
		settings, err = json.Marshal(o.Fault)
	}
	if err != nil {
		return found, fmt.Errorf("%s on %s: %w", o.Kind, o.On.Name, err)
	}
	err = r.Journal.Write(Entry{Fault: o.ID, Until: time.Now().Add(o.For + hangLimit), Kind: o.Kind, On: o.On, Settings: settings, Was: found.was})
	if err != nil { // it may be there all the same, and nobody shall wait for its end
		err = errors.Join(err, r.Journal.Write(Entry{Fault: o.ID, Restored: true}))
	}
	return found, err
}

// hold lets a proven fault stand for its time. Near its end, twice as long before it as its proof took, it is looked at once more: what was
// done to the component meanwhile may have taken the fault away.
func (r *Runner) hold(ctx context.Context, out *Outcome) {
	o, end := out.Order, out.Effective.Add(out.For)
	took := max(time.Since(out.Effective), 100*time.Millisecond)
	_, passes := o.Fault.(Passing)
	if passes || time.Until(end) < 2*took || !target.Wait(ctx, time.Until(end.Add(-2*took))) {
		target.Wait(ctx, time.Until(end))
		return
	}
	inTime, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	m, err := r.look(inTime, o, end, func(m Measured) bool { return m.Bites })
	late := err != nil && inTime.Err() != nil // there was no time for it
	switch {
	case errors.Is(err, errHangs):
		out.failed = fmt.Errorf("look at %s on %s: %w", o.Kind, o.On.Name, err)
		return
	case !target.Wait(ctx, time.Until(end)), late:
		return
	case err != nil:
		out.Unseen = err
		return
	case m.Reason == "":
		m.Reason = "it does not bite"
	}
	if out.AtEnd = &m; !m.Bites {
		r.note("fault.faded", o, map[string]any{"is": m.Is, "reason": m.Reason})
	}
}

// restore puts back what was there and proves it. It does not heed the end of the run's own context. What fails is tried again for as long
// as there is time: another fault may be in the way, and end before.
func (r *Runner) restore(ctx context.Context, out *Outcome) {
	o := out.Order
	ctx = context.WithoutCancel(ctx)
	limited, cancel := context.WithTimeout(ctx, restoreLimit)
	defer cancel()
	r.note("fault.restore", o, nil)
	out.Restored = time.Now()
	var err error
	for {
		_, err = within(limited, restoreLimit, func(ctx context.Context) (struct{}, error) { return struct{}{}, o.Fault.Restore(ctx, o.On, out.was) })
		if err == nil || !target.Wait(limited, 200*time.Millisecond) {
			break
		}
	}
	out.Undone = time.Now()
	if err == nil {
		r.note("fault.undone", o, nil)
	}
	out.undone()
	if err == nil {
		if out.After, err = r.look(ctx, o, time.Now().Add(proofLimit), func(m Measured) bool { return m.Clean }); err == nil && !out.After.Clean {
			err = fmt.Errorf("the effect is still there: %s", out.After.Reason)
		}
	}
	if err == nil && out.well {
		var asked bool
		asked, err = r.health(ctx, o, 1)
		out.unasked, out.sick = !asked, err != nil
	}
	if err == nil && errors.Is(out.failed, errHangs) {
		err = errors.New("the step that hangs may still change something")
	}
	if err == nil {
		err = r.Journal.Write(Entry{Fault: o.ID, Restored: true})
	}
	if err != nil {
		r.giveUp(out, errors.Join(err, r.Journal.Write(Entry{Fault: o.ID, GivenUp: true})))
		return
	}
	out.Clean, out.Err, out.Mend = time.Now(), out.failed, ""
	if out.State = NotInjected; out.Measured.Bites && out.failed == nil {
		out.State = Restored
	}
	r.note("fault.clean", o, nil)
}

// giveUp says that a fault is not restored, and why: late of one that was clean, and whose component cannot work all the same.
func (r *Runner) giveUp(out *Outcome, err error) {
	details := map[string]any{"error": err.Error()}
	if !out.Clean.IsZero() {
		details["late"], out.Clean = true, time.Time{}
	}
	if out.State = NotRestored; !out.sick { // else there is nothing to put back
		out.Mend = Mend(out.Fault, out.On, out.was)
	}
	out.Err = errors.Join(out.failed, fmt.Errorf("restore %s on %s: %w", out.Kind, out.On.Name, err))
	r.note("fault.not-restored", out.Order, details)
}

func (r *Runner) note(kind string, o Order, more map[string]any) {
	details := map[string]any{"fault": o.ID, "type": o.Kind, "on": o.On.Name}
	if o.By != "" {
		details["by"] = o.By
	}
	for k, v := range more {
		details[k] = v
	}
	r.Notify(kind, details)
}
