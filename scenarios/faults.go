package scenarios

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target/stack"
	"github.com/livedrill/livedrill/target/unit"
)

// faultForm is a fault as it is written, without its settings.
type faultForm struct {
	ID     string        `json:"id"`
	At     unit.Duration `json:"at"`
	For    unit.Duration `json:"for"`
	Inject string        `json:"inject"`
	On     string        `json:"on"`
}

// faults reads the list of faults, and holds them against each other.
func (d *decoder) faults(n *yaml.Node) []Fault {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.problem(n, "faults", "is no list")
		return nil
	}
	var out []Fault
	ids := map[string]bool{}
	for i, item := range n.Content {
		at := fmt.Sprintf("faults[%d]", i)
		f, ok := d.fault(item, at, fmt.Sprintf("f%d", i+1))
		if !PlainName(f.ID) || ids[f.ID] || slices.Contains([]string{reports.WholeRun, "warm-up", "steady", "fault", "recovery"}, f.ID) {
			d.problem(item, at, "%q is no id, stands twice, or is the name of a phase", f.ID)
		}
		ids[f.ID] = true
		if !ok {
			continue
		}
		for _, other := range out {
			if why := f.overlaps(other); why != "" {
				d.problem(item, at, "it %s", why)
			}
		}
		out = append(out, f)
	}
	return out
}

// overlaps tells why two faults cannot be what they are at their times; empty: they can. Either's proof of restoration is part of it.
func (f Fault) overlaps(other Fault) string {
	kind, _ := faultkinds.Find(f.Kind)
	theirs, _ := faultkinds.Find(other.Kind)
	both := kind.Fights(theirs)
	if both == "" || other.On != f.On || other.At >= f.At+f.For+proofTime || f.At >= other.At+other.For+proofTime {
		return ""
	}
	return fmt.Sprintf("overlaps with %s, %s on the same component: both need its %s", other.ID, other.Kind, both)
}

// fault reads one fault. It is false when there is no such kind.
func (d *decoder) fault(item *yaml.Node, at, id string) (Fault, bool) {
	with, rest := split(item, "with")
	f := faultForm{ID: id, For: unit.Duration(10 * time.Second)}
	d.decode(rest, reflect.ValueOf(&f).Elem(), at)
	if f.For < unit.Duration(time.Second) {
		d.problem(item, at, "for: a fault of %s is too short to be proven: at least 1s", f.For)
	}
	if day := unit.Duration(24 * time.Hour); f.At > day || f.For > day || f.At+f.For > day {
		d.problem(item, at, "it would last longer than a day")
	}
	out := Fault{ID: f.ID, At: time.Duration(f.At), For: time.Duration(f.For), Kind: f.Inject, On: f.On}
	component, ok := kindOf(f.On)
	if !ok {
		d.noComponent(item, at, "on: ", f.On)
	}
	kind, known := faultkinds.Find(f.Inject)
	if !known {
		var names []string
		for _, k := range faultkinds.All {
			names = append(names, k.Name)
		}
		d.problem(item, at, "inject: no fault %q%s: livedrill list faults shows all", f.Inject, reports.Nearest(f.Inject, names))
		return out, false
	}
	if ok && !kind.Fits(component) {
		d.problem(item, at, "on: %s works on %s, and %s is of kind %s", kind.Name, kind.Where(), f.On, component)
	}
	out.Fault = kind.Default()
	before := len(d.problems)
	if with != nil {
		d.decode(with, reflect.ValueOf(out.Fault), at+".with")
	} else {
		with = item
	}
	if len(d.problems) == before {
		d.validate(with, out.Fault, at+".with")
	}
	return out, true
}

// noComponent says that there is none of that name, and which there are.
func (d *decoder) noComponent(item *yaml.Node, at, key, name string) {
	var names []string
	for _, c := range stack.Targets() {
		names = append(names, c.Name)
	}
	d.problem(item, at, "%sno component %q%s: there are %s", key, name, reports.Nearest(name, names), strings.Join(names, ", "))
}

// kindOf gives the kind of what a fault can be put on.
func kindOf(name string) (string, bool) {
	for _, c := range stack.Targets() {
		if c.Name == name {
			return c.Kind, true
		}
	}
	return "", false
}
