package documents

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

func writeResult(w io.Writer, d Document) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d.Result)
}

// seconds prints a time of the run.
func seconds(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f s", *v)
}

// briefly is a short time, in milliseconds.
func briefly(s *float64) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", *s*1000)
}

// state is what became of a fault.
func (d Document) state(f reports.Fault) string {
	if f.Faded == "" {
		return d.t(f.State)
	}
	return d.t(f.State) + ", " + d.t("gone before its end")
}

// failed is how many arrivals of a load failed, and why.
func (d Document) failed(l reports.Load) string {
	var why []string
	for _, c := range l.Causes() {
		why = append(why, d.t(c.Why)+" "+reports.Count(c.N))
	}
	if len(why) == 0 {
		return reports.Count(l.Failed)
	}
	return fmt.Sprintf("%s (%s)", reports.Count(l.Failed), strings.Join(why, ", "))
}

// effect is what stands for a fault's effect in tables: one of the numbers that were asked for, and what was measured of it. Where it is
// not plain from the fault which number that is, it has its name.
func effect(f reports.Fault) (asked, measured string) {
	for _, name := range []string{"loss_ratio", "delay_seconds", "bits_per_second", "speed_ratio", "refused_write_ratio"} {
		if _, ok := f.Asked[name]; ok {
			return quantity(f.Asked, name), bounded(f.Measured, name)
		}
	}
	names := slices.Sorted(maps.Keys(f.Asked))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(min(f.Asked[b], 1), min(f.Asked[a], 1)) }) // what is to be 0 says least
	for _, name := range names {
		if _, ok := f.Measured[name]; ok {
			return spoken(name) + " " + quantity(f.Asked, name), bounded(f.Measured, name)
		}
	}
	return first(f.Asked), first(f.Measured)
}

// first is the first of some numbers, with its name; n, how many readings there are, is none of them.
func first(of map[string]float64) string {
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if name != "n" {
			return spoken(name) + " " + quantity(of, name)
		}
	}
	return reports.Quantity(nil, "")
}

// spoken is a number's name without its unit.
func spoken(name string) string {
	return strings.ReplaceAll(strings.TrimSuffix(name, "_"+effectUnit(name)), "_", " ")
}

func quantity(of map[string]float64, name string) string {
	if v, ok := of[name]; ok {
		return reports.Quantity(&v, effectUnit(name))
	}
	return reports.Quantity(nil, "")
}

// bounded is a number with its bounds, if it has any.
func bounded(of map[string]float64, name string) string {
	text := quantity(of, name)
	if _, ok := of[name+"_low"]; ok {
		low, high := of[name+"_low"], of[name+"_high"]
		text += fmt.Sprintf(" (%s – %s)", reports.Quantity(&low, effectUnit(name)), reports.Quantity(&high, effectUnit(name)))
	}
	return text
}

func effectUnit(name string) string {
	for _, unit := range []string{"ratio", "seconds"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	return ""
}

func unitOf(r reports.Result, objective string) string {
	for _, o := range r.Objectives {
		if o.Name == objective {
			return o.Unit
		}
	}
	return ""
}

// said is what somebody did, in one line without the reasons.
func said(d Document, m reports.Remark) string {
	out := d.t(m.What)
	switch m.What {
	case reports.SaidCause:
		out += fmt.Sprintf(" %s → %s", m.Fault, m.On)
	case reports.SaidAcknowledge:
		out = strings.TrimSpace(out + " " + m.Alert)
	case reports.SaidDefend:
		out += " " + m.Defence
	case reports.SaidProgram:
		out += " " + m.Program
	case reports.SaidAction:
		out += " " + m.Text
	}
	return out
}

// score says how much of a named cause is right.
func score(d Document, m reports.Remark) string {
	if m.Score == nil {
		return "-"
	}
	parts := []string{m.Score.Of}
	for name, is := range map[string]bool{"layer": m.Score.Layer, "component": m.Score.Component, "kind": m.Score.Kind} {
		if is {
			parts = append(parts, d.t(name))
		}
	}
	slices.Sort(parts[1:])
	return strings.Join(parts, " ")
}

// writeText is the summary that ends a run on a terminal.
func writeText(w io.Writer, d Document) error {
	c := &columns{w: w}
	c.line("")
	c.line(d.t(fmt.Sprintf("%s on %s: %s", d.Run.Scenario, d.Run.Profile, strings.ToUpper(d.t(d.Verdict.String())))))
	if d.Run.Cause != "" {
		c.line("  " + d.t("root cause") + ": " + d.t(d.Run.Cause))
	}
	if d.TimeNote != "" {
		c.line("  " + d.t(d.TimeNote))
	}
	for _, reason := range d.Reasons {
		c.line("  - " + d.t(reason))
	}
	c.line("")
	c.row(d.heads("OBJECTIVE", "LIMIT", "MEASURED", "95% BOUNDS", "N", "VERDICT")...)
	for _, o := range d.Objectives {
		c.row(o.Name, o.Op+" "+reports.Quantity(&o.Threshold, o.Unit), reports.Quantity(o.Measured, o.Unit),
			d.bounds(o.Low, o.High, o.Unit), reports.Count(o.N), d.t(o.Verdict.String()))
	}
	if len(d.Faults) > 0 {
		c.line("")
		c.row(d.heads("FAULT", "ON", "BY", "ASKED", "MEASURED", "FROM", "EFFECT AFTER", "CLEAN", "UNDONE AFTER", "STATE")...)
		for _, f := range d.Faults {
			asked, measured := effect(f)
			c.row(f.ID+" "+f.Kind, f.On, d.t(f.BackEnd), asked, measured,
				seconds(f.Injected), briefly(f.TakesEffect()), seconds(f.Clean), briefly(f.TakesUndoing()), d.state(f))
		}
	}
	if len(d.Impact) > 0 {
		c.line("")
		c.row(d.heads("FAULT", "HURT", "FIRST SEEN AFTER", "WHOLE AFTER", "WORST")...)
		for _, i := range d.Impact {
			c.row(i.Fault, i.Objective, seconds(i.Detected), seconds(i.Whole), reports.Quantity(&i.Worst, unitOf(d.Result, i.Objective)))
		}
	}
	if len(d.Remarks) > 0 {
		c.line("")
		c.row(d.heads("TIME", "WHO", "DID", "DONE", "RIGHT")...)
		for _, m := range d.Remarks {
			c.row(seconds(&m.At), m.By, said(d, m), seconds(m.Done), score(d, m))
		}
	}
	if d.Baseline != nil {
		c.line("")
		c.row(d.heads("METRIC", "BASELINE", "THIS RUN", "CHANGE")...)
		for _, row := range d.Baseline.Rows {
			c.row(d.t(row.Metric), reports.Quantity(row.Before, row.Unit), reports.Quantity(row.After, row.Unit), change(row.Change))
		}
	}
	if len(d.Alerts) > 0 {
		c.line("")
		c.row(d.heads("ALERT", "SEVERITY", "FIRED", "ACKNOWLEDGED", "AFTER INJECTION", "STATE")...)
		for _, a := range d.Alerts {
			c.row(a.Name, a.Severity, seconds(a.Fired), seconds(a.Acknowledged), seconds(a.AfterT0), d.t(a.State))
		}
	}
	c.line("")
	c.row(d.heads("LOAD", "KIND", "ASKED", "MADE", "FAILED", "LATE P99", "STATE")...)
	for _, l := range d.Loads {
		c.row(l.Name, l.Kind, fmt.Sprintf("%.1f/s", l.RateOffered), fmt.Sprintf("%.1f/s", l.RateAchieved), d.failed(l),
			fmt.Sprintf("%.0f ms", l.LateP99), d.t(l.State))
	}
	c.line("")
	if d.SLA != nil {
		c.line(d.t(availabilityLine(*d.SLA)))
	}
	for _, k := range d.Consistency {
		c.line(k.Check + ": " + d.t(k.Detail))
	}
	for _, n := range d.Notes {
		c.line(d.t("note") + ": " + d.t(n))
	}
	c.line(d.t(fmt.Sprintf("cost: platform ready after %.1f s; timeline, record and faults used %.3f cores", d.Costs.ReadyAfter, d.Costs.RangeCores)))
	for i, a := range d.Actions {
		if i == 0 {
			c.line("")
			c.line(d.t("NEXT"))
		}
		c.line("  " + a.ID + "  " + d.t(a.Finding) + ". " + d.t(a.Do))
	}
	return c.end()
}

// availabilityLine says the availabilities in one line.
func availabilityLine(s reports.SLA) string {
	text := fmt.Sprintf("availability: %s in the drill", reports.Percent(s.InDrill.Value))
	if s.FaultExcluded != nil {
		text += fmt.Sprintf(", %s without the faults", reports.Percent(s.FaultExcluded.Value))
	}
	if s.Extrapolated != nil && s.Extrapolated.Value != nil {
		text += fmt.Sprintf(", %s over a month in which nothing but such incidents happens", reports.Percent(*s.Extrapolated.Value))
	}
	return text
}

// columns lines cells up, and knows that Chinese characters are two columns wide.
type columns struct {
	w    io.Writer
	rows [][]string
	err  error
}

func (c *columns) row(cells ...string) {
	for i, text := range cells {
		cells[i] = strings.ReplaceAll(reports.Visible(text), "\n", " ")
	}
	c.rows = append(c.rows, cells)
}

// line ends the table before it and prints a line of its own.
func (c *columns) line(text string) {
	c.flush()
	c.print(strings.ReplaceAll(reports.Visible(text), "\n", " ") + "\n")
}

func (c *columns) print(text string) {
	if c.err == nil {
		_, c.err = io.WriteString(c.w, text)
	}
}

func (c *columns) flush() {
	var widths []int
	for _, row := range c.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], wide(cell))
		}
	}
	for _, row := range c.rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-wide(cell)+2))
			}
		}
		c.print(b.String() + "\n")
	}
	c.rows = nil
}

func (c *columns) end() error {
	c.flush()
	return c.err
}

// wide is how many columns of a terminal a text takes.
func wide(text string) int {
	n := 0
	for _, r := range text {
		if n++; r >= 0x2e80 { // from here on characters are full-width
			n++
		}
	}
	return n
}
