package scenarios

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"time"

	"github.com/livedrill/livedrill/injectors"
	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target"
)

// timeline is the run itself: the load begins, the phases follow each other, the faults come and go.
func (d *drill) timeline(ctx context.Context) error {
	if err := d.lengthen(ctx); err != nil {
		if ctx.Err() == nil {
			d.problem("%v", err)
		}
		return nil
	}
	begin := time.Now().Add(connectTime)
	workers, err := d.startWorkers(ctx, begin)
	defer workers.stop()
	if err != nil {
		return err
	}
	if !target.Wait(ctx, time.Until(begin)) {
		return nil
	}
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	guarded, ruled := d.guard(ctx, abort), d.runbook(ctx)
	defer func() { abort(); <-guarded; <-ruled }()
	group := &injectors.Group{Runner: d.runner}
	at := d.boundary()
	for _, p := range d.story.Timeline() {
		d.note("phase", map[string]any{"name": p.Name, "from_s": at})
		d.enter(p.Name)
		if p.Name == "fault" {
			d.injectAll(ctx, group, begin.Add(p.From))
		}
		reached := target.Wait(ctx, time.Until(begin.Add(p.To)))
		if p.Name == "fault" && reached {
			group.Wait(ctx, overtime)
		}
		if !reached { // nothing more goes to a platform that is given up
			workers.halt(context.WithoutCancel(ctx))
			d.note("load.halted", nil)
		}
		if p.Name == "fault" || !reached {
			d.collect(group.End())
		}
		to := d.boundary()
		d.enter("") // until the next one begins
		d.know(func(f *reports.Facts) { f.Phases = append(f.Phases, reports.Phase{Name: p.Name, From: at, To: to}) })
		at = to
		d.checkpoint()
		if !reached {
			return nil
		}
		if err := workers.failed(); err != nil {
			d.problem("%v", err)
			return nil
		}
	}
	workers.wait(ctx)
	target.Wait(ctx, auditTime)
	end := d.boundary()
	d.know(func(f *reports.Facts) { f.Run.Duration = end })
	return nil
}

// overtime is how long the fault phase waits for a fault that was slow to take effect or to be proven gone.
const overtime = 30 * time.Second

// auditTime is what the gateway's audit of the ledger needs to see the last gift.
const auditTime = 1200 * time.Millisecond

// injectAll starts every fault at its time.
func (d *drill) injectAll(ctx context.Context, group *injectors.Group, from time.Time) {
	faults := slices.Clone(d.story.Faults)
	slices.SortStableFunc(faults, func(a, b Fault) int { return int(a.At - b.At) })
	for _, f := range faults {
		if !target.Wait(ctx, time.Until(from.Add(f.At))) {
			return
		}
		on, err := d.stack.Platform().Find(f.On)
		if err != nil {
			d.problem("%s: %v", f.ID, err)
			continue
		}
		f.drawBy(d.story.Seed)
		kind, _ := faultkinds.Find(f.Kind)
		group.Start(ctx, injectors.Order{ID: f.ID, Kind: f.Kind, Fault: f.Fault, On: on, For: f.For, Takes: kind.Takes})
	}
}

// drawBy gives a fault that draws something, and has no seed of its own, one made of the scenario's: two faults do not hit the same packets.
func (f Fault) drawBy(seed uint64) {
	if drawn, ok := f.Fault.(injectors.Seeded); ok {
		name := fnv.New64a()
		_, _ = io.WriteString(name, f.ID)                 // it cannot fail
		drawn.SeedBy((seed ^ name.Sum64()) & (1<<53 - 1)) // what a number in JSON can hold (RFC 8259, 6)
	}
}

// collect turns what became of the faults into facts. A fault that the run never came to is not among them.
func (d *drill) collect(outcomes []injectors.Outcome) {
	if d.facts.Faults != nil {
		return
	}
	for _, o := range outcomes {
		f := reports.Fault{ID: o.ID, Kind: o.Kind, On: o.On.Name, Settings: settingsOf(o.Fault), With: flat(o.Fault), BackEnd: o.BackEnd,
			Injected: d.seconds(o.Injected), Effective: d.seconds(o.Effective), Restored: d.seconds(o.Restored), Undone: d.seconds(o.Undone), Clean: d.seconds(o.Clean),
			Asked: o.Measured.Asked, Measured: o.Measured.Is, After: o.After.Is, State: o.State, Mend: o.Mend}
		if f.Measured != nil {
			f.Measured["n"] = float64(o.Measured.N)
		}
		if o.State == injectors.NotInjected {
			f.Error = o.Measured.Reason
		}
		if o.AtEnd != nil {
			if f.AtEnd = o.AtEnd.Is; !o.AtEnd.Bites {
				f.Faded = o.AtEnd.Reason
			}
		}
		if o.Unseen != nil {
			d.know(func(facts *reports.Facts) {
				facts.Notes = append(facts.Notes, fmt.Sprintf("%s on %s could not be looked at before its end: %v", o.Kind, o.On.Name, o.Unseen))
			})
		}
		if o.Err != nil {
			f.Error = o.Err.Error()
		}
		d.know(func(facts *reports.Facts) { facts.Faults = append(facts.Faults, f) })
	}
}

func (d *drill) seconds(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	s := t.Sub(d.facts.Run.Started).Seconds()
	return &s
}

// String names a fault as events and tables do.
func (f Fault) String() string { return fmt.Sprintf("%s on %s", f.Kind, f.On) }
