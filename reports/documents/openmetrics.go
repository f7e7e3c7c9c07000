package documents

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// writeOpenMetrics gives the result's numbers in the text form of OpenMetrics 1.0, as GitLab's metrics report reads them too.
func writeOpenMetrics(w io.Writer, d Document) error {
	var b strings.Builder
	family := func(name, unit, help string) {
		fmt.Fprintf(&b, "# TYPE %s gauge\n", name)
		if unit != "" {
			fmt.Fprintf(&b, "# UNIT %s %s\n", name, unit)
		}
		fmt.Fprintf(&b, "# HELP %s %s\n", name, escaped(help))
	}
	base := fmt.Sprintf(`scenario="%s",profile="%s"`, escaped(d.Run.Scenario), escaped(d.Run.Profile))
	family("livedrill_passed", "", "1 when the run met every objective.")
	fmt.Fprintf(&b, "livedrill_passed{%s} %d\n", base, btoi(d.Verdict == reports.Passed))
	family("livedrill_time_scale_ratio", "ratio", "Durations of phases and faults over those of the scenario: 1 is the drill as it is written.")
	fmt.Fprintf(&b, "livedrill_time_scale_ratio{%s} %g\n", base, d.Run.TimeScale)
	family("livedrill_objective_met", "", "1 met, 0 missed; one that could not be decided is absent.")
	for _, o := range d.Objectives {
		if o.Verdict == reports.Met || o.Verdict == reports.Missed {
			fmt.Fprintf(&b, "livedrill_objective_met{%s,objective=\"%s\"} %d\n", base, escaped(o.Name), btoi(o.Verdict == reports.Met))
		}
	}
	family("livedrill_sli", "", "Every SLI of the whole run, in its base unit.")
	for _, c := range d.Table {
		if c.Phase != reports.WholeRun || c.Region != reports.AllRegions {
			continue
		}
		for point, v := range map[string]*float64{"value": c.Value, "p50": c.P50, "p95": c.P95, "p99": c.P99} {
			if v != nil {
				fmt.Fprintf(&b, "livedrill_sli{%s,sli=\"%s\",point=\"%s\"} %g\n", base, c.SLI, point, *v)
			}
		}
	}
	family("livedrill_load_achieved_ratio", "ratio", "Arrivals made over arrivals due.")
	for _, l := range d.Loads {
		if l.Offered > 0 {
			fmt.Fprintf(&b, "livedrill_load_achieved_ratio{%s,load=\"%s\"} %g\n", base, escaped(l.Name), l.Achieved/l.Offered)
		}
	}
	family("livedrill_fault_recovery_seconds", "seconds", "From the first bad window to the first of three good ones.")
	for _, r := range d.Responses {
		if r.RTO != nil {
			fmt.Fprintf(&b, "livedrill_fault_recovery_seconds{%s,fault=\"%s\"} %g\n", base, escaped(r.Fault), *r.RTO)
		}
	}
	if d.SLA != nil {
		family("livedrill_availability_ratio", "ratio", d.SLA.Basis)
		fmt.Fprintf(&b, "livedrill_availability_ratio{%s,of=\"drill\"} %g\n", base, d.SLA.InDrill.Value)
		if s := d.SLA.FaultExcluded; s != nil {
			fmt.Fprintf(&b, "livedrill_availability_ratio{%s,of=\"without-faults\"} %g\n", base, s.Value)
		}
		if s := d.SLA.Extrapolated; s != nil && s.Value != nil {
			fmt.Fprintf(&b, "livedrill_availability_ratio{%s,of=\"month\"} %g\n", base, *s.Value)
		}
	}
	b.WriteString("# EOF\n")
	_, err := io.WriteString(w, reports.Visible(sortedSamples(b.String())))
	return err
}

// sortedSamples puts the samples of each family in order, so that the same result gives the same text.
func sortedSamples(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for from := 0; from < len(lines); {
		to := from
		for to < len(lines) && !strings.HasPrefix(lines[to], "#") {
			to++
		}
		slices.Sort(lines[from:to])
		from = to + 1
	}
	return strings.Join(lines, "\n") + "\n"
}

// escaped is a label value or a help text (OpenMetrics 1.0, section 3.2.1).
func escaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
