package scenarios

import (
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/alerts"
	"github.com/livedrill/livedrill/target/unit"
)

// sla is what has been promised to others.
type sla struct {
	RTO          unit.Duration `json:"rto" help:"time within which service must be whole again"`
	Availability unit.Ratio    `json:"availability" help:"share of time over 30 days"`
	Judgement    unit.Duration `json:"judgement" help:"time within which somebody must have acknowledged"`
	Cause        unit.Duration `json:"cause" help:"time from there within which the cause must be named"`
	Handling     unit.Duration `json:"handling" help:"time within which people must have made service whole again"`
}

func (d *decoder) targets(n *yaml.Node, s sla) reports.Targets {
	if s.RTO <= 0 {
		d.problem(n, "sla.rto", "%s is no time to recover in", s.RTO)
	}
	if s.Availability <= 0 || s.Availability >= 1 {
		d.problem(n, "sla.availability", "%v is not between 0%% and 100%%: nobody can promise either", s.Availability)
	}
	for name, v := range map[string]unit.Duration{"judgement": s.Judgement, "cause": s.Cause, "handling": s.Handling} {
		if v <= 0 {
			d.problem(n, join("sla", name), "%s is no time to do it in", v)
		}
	}
	return reports.Targets{RTO: s.RTO.Seconds(), Availability: float64(s.Availability),
		Judgement: s.Judgement.Seconds(), Cause: s.Cause.Seconds(), Handling: s.Handling.Seconds()}
}

// incidents reads how often each fault happens in real life: a table of kinds.
func (d *decoder) incidents(n *yaml.Node) []reports.Incident {
	if n == nil {
		return nil
	}
	var out []reports.Incident
	for key, value := range d.pairs(n, "incidents") {
		at := join("incidents", key.Value)
		var form struct {
			PerMonth float64       `json:"per-month"`
			Lasts    unit.Duration `json:"lasts"`
		}
		d.decode(value, reflect.ValueOf(&form).Elem(), at)
		if _, ok := faultkinds.Find(key.Value); !ok {
			d.problem(key, at, "no fault %q: livedrill list faults shows all", key.Value)
		}
		if !(form.PerMonth > 0 && form.PerMonth < 1e6) || form.Lasts <= 0 {
			d.problem(value, at, "needs per-month (how often, above 0) and lasts (how long)")
		}
		out = append(out, reports.Incident{Fault: key.Value, PerMonth: form.PerMonth, Lasts: time.Duration(form.Lasts).Seconds()})
	}
	return out
}

// alertsForm is alerts with all its keys; a text alone stands for its rules.
type alertsForm struct {
	Rules  later    `json:"rules"`
	Expect []string `json:"expect"`
	Silent []string `json:"silent"`
}

func (d *decoder) alerts(n *yaml.Node) reports.AlertRules {
	if n == nil {
		return reports.AlertRules{}
	}
	rules, form := n, alertsForm{}
	if n.Kind == yaml.MappingNode {
		var rest *yaml.Node
		rules, rest = split(n, "rules")
		d.decode(rest, reflect.ValueOf(&form).Elem(), "alerts")
		if rules == nil {
			d.problem(n, "alerts", "has no rules: name a Prometheus rule file, or core for those that ship")
			return reports.AlertRules{}
		}
	}
	out := reports.AlertRules{Files: map[string]string{}, Expect: form.Expect, Silent: form.Silent}
	names := []*yaml.Node{rules}
	if rules.Kind == yaml.SequenceNode {
		names = rules.Content
	}
	for _, name := range names {
		text, err := readRules(d.file, name.Value)
		if err == nil {
			err = alerts.Check(name.Value, text)
		}
		if err != nil {
			d.problem(name, "alerts.rules", "%v", err)
			continue
		}
		base := path.Base(name.Value)
		if _, twice := out.Files[base]; twice {
			d.problem(name, "alerts.rules", "two files are called %s: they are kept by that name", base)
			continue
		}
		out.Files[base] = text
	}
	if len(out.Files) < len(names) {
		return out // of rules that could not be read nothing is known
	}
	known := alerts.Names(out.Files)
	for _, name := range append(slices.Clone(form.Expect), form.Silent...) {
		if !slices.Contains(known, name) {
			d.problem(n, "alerts", "no rule gives an alert %q%s: there are %s", name, reports.Nearest(name, known), strings.Join(known, ", "))
		}
		if slices.Contains(form.Expect, name) && slices.Contains(form.Silent, name) {
			d.problem(n, "alerts", "%s cannot be expected to fire and to stay silent", name)
		}
	}
	return out
}

// readRules reads a rule file: core, one beside the library's scenarios, or one beside the scenario's own file.
func readRules(scenario, name string) (string, error) {
	if name == alerts.CoreName {
		return alerts.Core, nil
	}
	if strings.HasPrefix(scenario, libraryMark) {
		text, err := library.ReadFile(path.Join("library", "alerts", name))
		return string(text), err
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(scenario), name)
	}
	text, err := unit.ReadFile(name)
	return string(text), err
}

// alertsDir is where a run directory keeps the rule files of its scenario.
const alertsDir = "alerts"

// promises gives what was promised back in the form in which they are read.
func (s Scenario) promises(into map[string]any) {
	text := func(seconds float64) string { return unit.Duration(seconds * float64(time.Second)).String() }
	into["sla"] = map[string]any{"rto": text(s.SLA.RTO), "availability": unit.Ratio(s.SLA.Availability),
		"judgement": text(s.SLA.Judgement), "cause": text(s.SLA.Cause), "handling": text(s.SLA.Handling)}
	if len(s.Alerts.Files) > 0 {
		var files []string
		for name := range s.Alerts.Files {
			files = append(files, path.Join(alertsDir, name))
		}
		slices.Sort(files)
		into["alerts"] = map[string]any{"rules": files, "expect": s.Alerts.Expect, "silent": s.Alerts.Silent}
	}
	if len(s.Incidents) > 0 {
		table := map[string]any{}
		for _, i := range s.Incidents {
			table[i.Fault] = map[string]any{"per-month": i.PerMonth, "lasts": text(i.Lasts)}
		}
		into["incidents"] = table
	}
}
