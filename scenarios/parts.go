package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	loadkinds "github.com/livedrill/livedrill/loadgen/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target/stack"
	"github.com/livedrill/livedrill/target/unit"
)

func (d *decoder) load(n, root *yaml.Node) []Workload {
	if n == nil || len(n.Content) == 0 && (n.Kind == yaml.MappingNode || n.Tag == "!!null") {
		d.problem(root, "load", "is missing: without load nothing can be measured")
		return nil
	}
	var out []Workload
	for key, value := range d.pairs(n, "load") {
		at := join("load", key.Value)
		if !PlainName(key.Value) {
			d.problem(key, at, "a load's name is 1 to 32 letters, digits and dashes")
			continue
		}
		w := Workload{Name: key.Value}
		kindNode, rest := split(value, "kind")
		if kindNode == nil {
			d.problem(value, at, "has no kind")
			continue
		}
		kind, ok := loadkinds.Find(kindNode.Value)
		if !ok {
			var names []string
			for _, k := range loadkinds.All {
				names = append(names, k.Name)
			}
			d.problem(kindNode, at, "no load of kind %q%s: there are %s", kindNode.Value, reports.Nearest(kindNode.Value, names),
				strings.Join(names, ", "))
			continue
		}
		w.Kind, w.Generator = kind.Name, kind.Default()
		regions, rest := split(rest, "regions")
		w.Regions = map[string]unit.Ratio{"north": 0.8, "south": 0.2}
		if regions != nil {
			d.decode(regions, reflect.ValueOf(&w.Regions).Elem(), join(at, "regions"))
			d.checkRegions(regions, w.Regions, join(at, "regions"))
		}
		segment, rest := split(rest, "segment")
		if segment != nil {
			if err := w.Segment.UnmarshalText([]byte(segment.Value)); err != nil {
				d.problem(segment, join(at, "segment"), "%v", err)
			}
		}
		before := len(d.problems)
		d.decode(rest, reflect.ValueOf(w.Generator), at)
		if len(d.problems) == before {
			d.validate(rest, w.Generator, at)
		}
		out = append(out, w)
	}
	return out
}

func (d *decoder) checkRegions(n *yaml.Node, regions map[string]unit.Ratio, path string) {
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		if !slices.Contains(stack.Regions, name) {
			d.problem(n, path, "no region %q: there are %s", name, strings.Join(stack.Regions, ", "))
		}
		sum += float64(regions[name])
	}
	if sum < 0.999 || sum > 1.001 {
		d.problem(n, path, "the shares make %.4g%%, not 100%%", sum*100)
	}
}

// split takes one key out of a mapping.
func split(n *yaml.Node, key string) (value, rest *yaml.Node) {
	copied := *n
	if n.Kind != yaml.MappingNode {
		return nil, n
	}
	copied.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && value == nil {
			value = n.Content[i+1]
			continue
		}
		copied.Content = append(copied.Content, n.Content[i], n.Content[i+1])
	}
	return value, &copied
}

// objectiveForm is an objective in PromQL.
type objectiveForm struct {
	Name   string `json:"name"`
	Expr   string `json:"expr"`
	Limit  string `json:"limit"`
	During string `json:"during"`
	Abort  bool   `json:"abort"`
}

func (d *decoder) objectives(n *yaml.Node, s Scenario) []reports.Objective {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.problem(n, "objectives", "is no list")
		return nil
	}
	during := []string{reports.WholeRun, "warm-up", "steady", "fault", "recovery"}
	for _, f := range s.Faults {
		during = append(during, f.ID, f.Kind)
	}
	var out []reports.Objective
	for i, item := range n.Content {
		at := fmt.Sprintf("objectives[%d]", i)
		var o reports.Objective
		var err error
		if item.Kind == yaml.ScalarNode {
			o, err = reports.ParseObjective(item.Value)
		} else {
			var f objectiveForm
			d.decode(item, reflect.ValueOf(&f).Elem(), at)
			if o, err = reports.ExprObjective(f.Name, f.Expr, f.Limit, f.During); err == nil {
				o.Abort = f.Abort
				err = reports.CheckExpr(f.Expr)
			}
		}
		if err == nil && !slices.Contains(during, o.During) {
			err = fmt.Errorf("no phase and no fault %q%s", o.During, reports.Nearest(o.During, during))
		}
		if kinds := slices.Collect(kindsOf(s.Faults, o.During)); err == nil && len(kinds) > 1 {
			err = fmt.Errorf("there are %d faults of kind %s: name one by its id", len(kinds), o.During)
		}
		if err == nil && o.During == "fault" && len(s.Faults) == 0 {
			err = errors.New("there is no fault in this scenario")
		}
		if err != nil {
			d.problem(item, at, "%v", err)
			continue
		}
		out = append(out, o)
	}
	return out
}

// kindsOf walks the faults of a kind.
func kindsOf(faults []Fault, kind string) func(func(Fault) bool) {
	return func(yield func(Fault) bool) {
		for _, f := range faults {
			if f.Kind == kind && !yield(f) {
				return
			}
		}
	}
}

// PlainName tells whether a name is fit for paths and series: 1 to 32 letters, digits and dashes.
func PlainName(s string) bool {
	if s == "" || len(s) > 32 || s[0] == '-' {
		return false
	}
	for _, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
