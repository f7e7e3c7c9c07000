// Package injectors breaks things on purpose, one folder per thing that can break, and puts them back. A Fault is the
// settings of one kind; the Runner gives every fault the same life: checked, saved, journalled, injected, proven, held,
// restored, proven again.
package injectors

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports/stats"
	"github.com/livedrill/livedrill/target"
)

// Fault is one thing that goes wrong, with its settings, ready to use.
type Fault interface {
	// Check reports whether the fault could work here. It changes nothing.
	Check(ctx context.Context, on target.Component) error
	// Save reads what Restore will have to put back, before anything is changed.
	Save(ctx context.Context, on target.Component) (Original, error)
	// Inject returns once the fault is in full effect. On error it has left nothing behind.
	Inject(ctx context.Context, on target.Component) error
	// Effect measures the fault as it is now: what was asked for, beside what is.
	Effect(ctx context.Context, on target.Component) (Measured, error)
	// Restore puts Original back from any half-applied state, in any process, any number of times.
	Restore(ctx context.Context, on target.Component, was Original) error
}

// Original is what a fault found before it changed anything: plain data, on disk before the first change.
type Original json.RawMessage

// MarshalJSON writes the data as it is.
func (o Original) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON keeps the data as it is.
func (o *Original) UnmarshalJSON(data []byte) error { return (*json.RawMessage)(o).UnmarshalJSON(data) }

// Keep makes an Original of v.
func Keep(v any) (Original, error) {
	text, err := json.Marshal(v)
	return Original(text), err
}

// Read is the reverse of Keep.
func (o Original) Read(into any) error { return json.Unmarshal(o, into) }

// Measured is a fault's effect at one time, by something other than what set it.
type Measured struct {
	Asked  map[string]float64 `json:"asked"`
	Is     map[string]float64 `json:"is"`
	N      uint64             `json:"n"`                // readings behind it
	Bites  bool               `json:"bites"`            // the effect is within its bounds
	Clean  bool               `json:"clean"`            // there is no effect at all
	Reason string             `json:"reason,omitempty"` // why it does not bite, or is not clean
}

// Bound puts the 95 % bounds (Wilson's) of a share that was seen in n trials beside it, as NAME_low and NAME_high. Trials that hang together
// are worth fewer.
func (m *Measured) Bound(name string, n float64) {
	m.Is[name+"_low"], m.Is[name+"_high"] = stats.Wilson(m.Is[name]*n, n)
}

// BackEnded is a fault that can say by what means it acts here. It is asked after Check.
type BackEnded interface{ BackEnd() string }

// Passing is a fault that strikes once: it is proven when it does, and what is left of it at its end is how far the platform has recovered.
type Passing interface{ Passes() }

// Lasting is a fault whose changes can outlive the range that they were made in. What it found tells whether they do.
type Lasting interface {
	Lasts(was Original) bool
	// Mend is the command that puts back by hand what Restore could not.
	Mend(on target.Component, was Original) string
}

// Mend is the command that puts back by hand what a fault changed beyond its range; empty: all of it ends with the range.
func Mend(f Fault, on target.Component, was Original) string {
	if l, ok := f.(Lasting); ok && l.Lasts(was) {
		return l.Mend(on, was)
	}
	return ""
}

// BackEnd is the means by which a fault acts.
func BackEnd(f Fault) string {
	if b, ok := f.(BackEnded); ok {
		return b.BackEnd()
	}
	return ""
}

// Seeded is a fault that draws something. Without a seed of its own it has one of the scenario's.
type Seeded interface{ SeedBy(scenario uint64) }

// Drawn is what such faults have in common.
type Drawn struct {
	Seed uint64 `json:"seed" help:"of what is drawn: same seed, same packets; 0: the scenario's"`
}

// SeedBy is part of Seeded.
func (d *Drawn) SeedBy(scenario uint64) {
	if d.Seed == 0 {
		d.Seed = scenario
	}
}

// Kind is one kind of fault.
type Kind struct {
	Name     string // family.thing
	Summary  string
	BackEnds []string
	Default  func() Fault // a pointer to the kind's settings
	On       string       // the kinds of component that it can be put on, by commas; empty: any
	Takes    string       // what of a component it has for itself, by commas: two faults that take the same cannot be there together
	Drive    bool         // whether it needs a disk that can be told what to do
}

// Where names the kinds of component that the fault can be put on.
func (k Kind) Where() string {
	if k.On == "" {
		return "any component"
	}
	return k.On
}

// Fits tells whether the fault can be put on a kind of component. Viewers have a link, and nothing else that is theirs.
func (k Kind) Fits(component string) bool {
	if component == target.KindViewers {
		return k.On == "" && strings.HasPrefix(k.Name, "network.")
	}
	return k.On == "" || slices.Contains(things(k.On), component)
}

// things are what a kind takes.
func things(takes string) []string {
	if takes == "" {
		return nil
	}
	return strings.Split(takes, ", ")
}

// Fights tells what two faults both need, and so cannot be on one component together; empty: nothing.
func (k Kind) Fights(other Kind) string {
	for _, thing := range things(k.Takes) {
		if slices.Contains(things(other.Takes), thing) {
			return thing
		}
	}
	return ""
}
