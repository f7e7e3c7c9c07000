package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target/stack"
	"github.com/livedrill/livedrill/target/unit"
)

// Scale stretches or shortens the scenario's timeline. Settings of loads and faults stay as they are.
func (s *Scenario) Scale(factor float64) {
	stretch := func(d time.Duration) time.Duration { return time.Duration(float64(d) * factor) }
	s.Phases = Phases{WarmUp: unit.Duration(stretch(time.Duration(s.Phases.WarmUp))),
		Steady: unit.Duration(stretch(time.Duration(s.Phases.Steady))), Recovery: unit.Duration(stretch(time.Duration(s.Phases.Recovery)))}
	s.quiet = stretch(s.quiet)
	for i := range s.Faults {
		s.Faults[i].At, s.Faults[i].For = stretch(s.Faults[i].At), max(stretch(s.Faults[i].For), time.Second)
		if drawn := i >= len(s.Faults)-s.Surprise.Drawn; drawn && i > 0 { // a proof takes its time on any scale
			before := s.Faults[i-1]
			s.Faults[i].At = max(s.Faults[i].At, before.At+before.For+proofTime)
		}
	}
}

// PhasePlan is one phase with its planned times, from the first load on.
type PhasePlan struct {
	Name     string
	From, To time.Duration
}

// Timeline lists the phases in order; one without length is left out.
func (s Scenario) Timeline() []PhasePlan {
	var out []PhasePlan
	var at time.Duration
	for _, p := range []PhasePlan{{Name: "warm-up", To: time.Duration(s.Phases.WarmUp)}, {Name: "steady", To: time.Duration(s.Phases.Steady)},
		{Name: "fault", To: s.FaultTime()}, {Name: "recovery", To: time.Duration(s.Phases.Recovery)}} {
		if p.To > 0 {
			out = append(out, PhasePlan{p.Name, at, at + p.To})
			at += p.To
		}
	}
	return out
}

// FaultsFrom is when the faults' own clock begins.
func (s Scenario) FaultsFrom() time.Duration {
	return time.Duration(s.Phases.WarmUp) + time.Duration(s.Phases.Steady)
}

// WritePlan prints what a run of the scenario would do.
func (s Scenario) WritePlan(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\t%s\n", s.Name, s.Summary)
	fmt.Fprintf(t, "platform\tbundled, profile %s\n", s.Target.Profile)
	for _, name := range slices.Sorted(maps.Keys(s.Target.Defences)) {
		fmt.Fprintf(t, "\t%s: %v\n", name, s.Target.Defences[name])
	}
	if drives := s.drives(); len(drives) > 0 {
		fmt.Fprintf(t, "drives\tdisks of %s, by way of FUSE\n", strings.Join(drives, ", "))
	}
	if s.replica() {
		fmt.Fprintf(t, "replica\t%s, which the gateway reads from\n", stack.ReplicaName)
	}
	fmt.Fprintf(t, "seed\t%d\nlength\t%s of load, after a start of some seconds\n\ntimeline\t\n", s.Seed, s.Length())
	for _, p := range s.Timeline() {
		fmt.Fprintf(t, "  %s\t%s\n", clock(p.From), p.Name)
		if p.Name != "fault" {
			continue
		}
		for _, f := range s.Faults {
			fmt.Fprintf(t, "  %s\t  %s %s on %s for %s %s\n", clock(s.FaultsFrom()+f.At), f.ID, f.Kind, f.On, f.For, flat(f.Fault))
		}
	}
	fmt.Fprintf(t, "  %s\tend\n", clock(s.Length()))
	if len(s.Surprise.Of) > 0 {
		fmt.Fprintf(t, "  drawn by the seed\t%s\n", s.Surprise)
	}
	fmt.Fprint(t, "\nload\t\n")
	for _, l := range s.Load {
		fmt.Fprintf(t, "  %s\t%s %s; regions %s\n", l.Name, l.Kind, flat(l.Generator), flat(l.Regions))
	}
	for _, region := range slices.Sorted(maps.Keys(s.Paths)) {
		fmt.Fprintf(t, "  path of %s\t%s\n", region, flat(s.Paths[region]))
	}
	fmt.Fprint(t, "\nobjectives\t\n")
	for _, o := range s.Objectives {
		sli, _ := reports.FindSLI(o.SLI)
		what := o.SLI + o.Expr
		if o.Quantile > 0 {
			what += fmt.Sprintf(" p%g", o.Quantile*100)
		}
		during := o.During
		if o.Abort {
			during += ", and ends the run when it is missed"
		}
		fmt.Fprintf(t, "  %s\t%s %s %s during %s\n", o.Name, what, o.Op, reports.Quantity(&o.Threshold, sli.Unit), during)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Alerts.Files)) {
		fmt.Fprintf(t, "  alerts of %s\tfire: %s; silent: %s\n", name, strings.Join(s.Alerts.Expect, ", "), strings.Join(s.Alerts.Silent, ", "))
	}
	for _, r := range s.Runbook {
		fmt.Fprintf(t, "  runbook\twhen %s is missed, %s\n", r.When, r.does())
	}
	for _, v := range s.Verify {
		fmt.Fprintf(t, "  %s\tchecked at the end\n", v)
	}
	return t.Flush()
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%04.1f", int(d.Minutes()), d.Seconds()-60*float64(int(d.Minutes())))
}

// flat prints settings as "name value, name value"; what is not set is left out.
func flat(v any) string { return flatten(plain(v)) }

func flatten(fields map[string]any) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		switch v := fields[k].(type) {
		case nil:
		case map[string]any:
			if inner := flatten(v); inner != "" {
				parts = append(parts, k+" ("+inner+")")
			}
		case []any:
			if len(v) > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", k, len(v)))
			}
		default:
			if text := fmt.Sprint(v); text != "" && text != "0s" && text != "0/s" {
				parts = append(parts, k+" "+text)
			}
		}
	}
	return strings.Join(parts, ", ")
}

// plain gives settings as names and values.
func plain(v any) map[string]any {
	out := map[string]any{}
	text, err := json.Marshal(v)
	if err != nil {
		return out
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	_ = d.Decode(&out) // settings that are no object have no names
	return numbers(out).(map[string]any)
}

// numbers turns the decoder's own numbers into Go's, all the way down.
func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			v[k] = numbers(item)
		}
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
	}
	return v
}

// YAML writes the scenario with every default in it; Parse reads it again.
func (s Scenario) YAML() ([]byte, error) {
	load, paths, faults, objectives, rules := map[string]any{}, map[string]any{}, []any{}, []any{}, []any{}
	for _, l := range s.Load {
		settings := plain(l.Generator)
		settings["kind"], settings["regions"] = l.Kind, plain(l.Regions)
		load[l.Name] = settings
	}
	for _, f := range s.Faults {
		faults = append(faults, map[string]any{"id": f.ID, "at": f.At.String(), "for": f.For.String(), "inject": f.Kind, "on": f.On,
			"with": plain(f.Fault)})
	}
	for _, o := range s.Objectives {
		if o.Expr != "" {
			objectives = append(objectives, map[string]any{"name": o.Name, "expr": o.Expr, "limit": fmt.Sprintf("%s %g", o.Op, o.Threshold),
				"during": o.During, "abort": o.Abort})
			continue
		}
		objectives = append(objectives, o.String())
	}
	for region, p := range s.Paths {
		paths[region] = plain(p)
	}
	for _, r := range s.Runbook {
		rules = append(rules, plain(r))
	}
	out := map[string]any{"name": s.Name, "summary": s.Summary, "cause": s.Cause, "seed": s.Seed,
		"target": plain(s.Target), "phases": plain(s.Phases), "paths": paths, "load": load, "faults": faults, "objectives": objectives, "verify": s.Verify, "runbook": rules}
	s.promises(out)
	return yaml.Marshal(out)
}
