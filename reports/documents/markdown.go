package documents

import (
	"fmt"
	"io"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// symbol marks a verdict where colours are missing.
func symbol(v reports.Verdict) string {
	switch v {
	case reports.Passed, reports.Met:
		return "✅"
	case reports.Missed: // of a run too
		return "❌"
	}
	return "⚠️"
}

// table begins a Markdown table.
func (d Document) table(b *strings.Builder, heads ...string) {
	for i, h := range heads {
		heads[i] = d.t(h)
	}
	fmt.Fprintf(b, "\n| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
}

// writeMarkdown fits a comment on a pull request.
func writeMarkdown(w io.Writer, d Document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s `%s` · `%s`: %s\n\n", symbol(d.Verdict), d.Run.Scenario, d.Run.Profile, d.t(d.Verdict.String()))
	if d.Run.Cause != "" {
		fmt.Fprintf(&b, "%s: %s\n\n", d.t("root cause"), d.t(d.Run.Cause))
	}
	if d.TimeNote != "" {
		fmt.Fprintf(&b, "%s\n\n", d.t(d.TimeNote))
	}
	for _, r := range d.Reasons {
		fmt.Fprintf(&b, "- %s\n", cell(d.t(r)))
	}
	d.table(&b, "objective", "limit", "measured", "95 % bounds", "n", "verdict")
	for _, o := range d.Objectives {
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s | %s | %s %s |\n", cell(o.Name), o.Op, reports.Quantity(&o.Threshold, o.Unit), reports.Quantity(o.Measured, o.Unit),
			d.bounds(o.Low, o.High, o.Unit), reports.Count(o.N), symbol(o.Verdict), d.t(o.Verdict.String()))
	}
	if len(d.Faults) > 0 {
		d.table(&b, "fault", "on", "by", "asked", "measured", "effect after", "undone after", "state")
		for _, f := range d.Faults {
			asked, measured := effect(f)
			fmt.Fprintf(&b, "| %s %s | %s | %s | %s | %s | %s | %s | %s |\n", f.ID, f.Kind, f.On, d.t(f.BackEnd), cell(asked), cell(measured),
				briefly(f.TakesEffect()), briefly(f.TakesUndoing()), d.state(f))
		}
	}
	if len(d.Alerts) > 0 {
		d.table(&b, "alert", "fired", "acknowledged", "after the injection", "state")
		for _, a := range d.Alerts {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(a.Name), seconds(a.Fired), seconds(a.Acknowledged), seconds(a.AfterT0), d.t(a.State))
		}
	}
	if d.SLA != nil {
		fmt.Fprintf(&b, "\n%s\n", d.t(availabilityLine(*d.SLA)))
	}
	if d.Baseline != nil {
		d.table(&b, "metric", "baseline", "this run", "change")
		for _, row := range d.Baseline.Rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", d.t(row.Metric), reports.Quantity(row.Before, row.Unit), reports.Quantity(row.After, row.Unit), change(row.Change))
		}
	}
	if len(d.Actions) > 0 {
		fmt.Fprintf(&b, "\n**%s**\n\n", d.t("What to do next"))
		for _, a := range d.Actions {
			fmt.Fprintf(&b, "- `%s` %s. %s\n", a.ID, cell(d.t(a.Finding)), cell(d.t(a.Do)))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", d.t(fmt.Sprintf("Run `%s`, seed %d, livedrill %s, %d cores.", d.Run.ID, d.Run.Seed, d.Run.Version, d.Run.Machine.Cores)))
	_, err := io.WriteString(w, b.String())
	return err
}

// cell keeps a text inside its table cell.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", ">", "&gt;", "@", "&#64;", "::", ":&#58;").Replace(reports.Visible(s))
}
