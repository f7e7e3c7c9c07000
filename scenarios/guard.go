package scenarios

import (
	"context"
	"slices"
	"time"

	"github.com/livedrill/livedrill/reports"
)

// enter notes the phase that the timeline is in.
func (d *drill) enter(phase string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase, d.since = phase, float64(time.Now().UnixMilli())/1000
	if phase == "steady" || d.measured == 0 && phase != "warm-up" && phase != "" {
		d.measured = d.since
	}
}

// guard looks every second whether an objective that ends the run was missed, and whether there is still a record to look at. If not, it
// calls abort: the load stops, and every fault is restored. What it returns is closed when it looks no more.
func (d *drill) guard(ctx context.Context, abort func()) <-chan struct{} {
	over := make(chan struct{})
	g := reports.NewGuard(d.facts.Run, slices.DeleteFunc(slices.Clone(d.facts.Objectives), func(o reports.Objective) bool { return !o.Abort }), d.db)
	go func() {
		defer close(over)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			if why := d.trouble(ctx, g, tick.C); why != "" {
				d.know(func(f *reports.Facts) { f.Aborted = why })
				d.note("run.aborted", map[string]any{"why": why})
				abort()
			}
		}
	}()
	return over
}

// trouble waits for the next look, and tells why the run should end. A platform that nobody watches is left in peace.
func (d *drill) trouble(ctx context.Context, g *reports.Guard, tick <-chan time.Time) string {
	select {
	case <-ctx.Done():
		return ""
	case err := <-d.blind:
		return "nothing is recorded any more: " + err.Error()
	case <-tick:
	}
	if g == nil {
		return ""
	}
	why, err := g.Broken(ctx, time.Now(), d.now)
	if ctx.Err() != nil {
		return ""
	}
	if err != nil {
		return "the guard cannot see: " + err.Error()
	}
	return why
}

// begun tells whether the load is at work.
func (d *drill) begun() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since > 0
}

// now tells whether an objective's "during" is so now, and since when.
func (d *drill) now(during string) (since float64, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.phase == "":
		return 0, false
	case during == d.phase:
		return d.since, true
	case during == reports.WholeRun:
		return d.measured, d.phase != "warm-up"
	}
	for _, f := range d.story.Faults {
		// A fault's window has its end when the fault is over.
		if w, begun := d.facts.Windows[f.ID]; begun && w.From == w.To && (f.ID == during || f.Kind == during) {
			return float64(d.facts.Run.Started.UnixMilli())/1000 + w.From, true
		}
	}
	return 0, false
}
