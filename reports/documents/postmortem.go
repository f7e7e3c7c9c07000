package documents

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// writePostMortem drafts a post-mortem with the sections of the SRE book (chapter 15, and its example in appendix D). What the
// run knows is filled in; what only people know is a question.
func writePostMortem(w io.Writer, d Document) error {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, "\n## %s\n\n", d.t(title)) }
	ask := func(question string) { fmt.Fprintf(&b, "_%s_\n", d.t(question)) }
	fmt.Fprintf(&b, "# %s: %s\n\n", d.t("Post-mortem (draft)"), d.Run.Scenario)
	fmt.Fprintf(&b, "- %s: %s\n- %s: %s\n- %s: %s\n", d.t("Date"), d.Run.Started.Format("2006-01-02 15:04:05 MST"), d.t("Authors"), "…", d.t("Status"), d.t("draft, made from the record"))
	if d.TimeNote != "" {
		fmt.Fprintf(&b, "- %s\n", d.t(d.TimeNote))
	}
	section("Summary")
	fmt.Fprintf(&b, "%s: %s. %s\n", d.Run.Scenario, d.t(d.Verdict.String()), d.t(d.Run.Summary))
	for _, r := range d.Reasons {
		fmt.Fprintf(&b, "- %s\n", d.t(r))
	}
	section("Impact")
	if d.SLA != nil {
		fmt.Fprintf(&b, "%s.\n", d.t(availabilityLine(*d.SLA)))
	}
	for _, r := range d.Responses {
		var regions []string
		for _, x := range r.Regions {
			if x.Hit {
				regions = append(regions, x.Name)
			}
		}
		fmt.Fprintf(&b, "- %s: %s %s; %s %s\n", r.Fault, d.t("objectives hurt"), list(r.Hurt), d.t("regions hit"), list(regions))
	}
	section("Root causes")
	for _, f := range d.Faults {
		fmt.Fprintf(&b, "- %s %s → %s (%s)\n", f.ID, f.Kind, f.On, d.state(f))
	}
	ask("Why could these faults become visible to users?")
	section("Trigger")
	ask("What would start this outside of a drill?")
	section("Resolution")
	for _, r := range d.Responses {
		if r.T[5] != nil {
			fmt.Fprintf(&b, "- %s: %s (%s)\n", r.Fault, r.Mitigation, seconds(r.T[5]))
		}
	}
	for _, m := range d.Remarks {
		if m.What == reports.SaidAction || m.Done != nil {
			fmt.Fprintf(&b, "- %s: %s (%s)\n", cell(m.By), cell(strings.TrimSpace(m.Defence+m.Program+" "+m.Text)), seconds(&m.At))
		}
	}
	section("Detection")
	if len(d.Alerts) == 0 {
		ask("No alerting rule took part. What would have told us?")
	}
	for _, a := range d.Alerts {
		fmt.Fprintf(&b, "- %s: %s, %s\n", a.Name, d.t(a.State), seconds(a.Fired))
	}
	section("Action items")
	d.table(&b, "id", "finding", "action", "proof", "owner")
	for _, a := range d.Actions {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | … |\n", a.ID, cell(d.t(a.Finding)), cell(d.t(a.Do)), cell(d.t(a.Proof)))
	}
	section("Lessons learned")
	for _, title := range []string{"What went well", "What went wrong", "Where we got lucky"} {
		fmt.Fprintf(&b, "### %s\n\n", d.t(title))
		for _, o := range d.Objectives {
			if title == "What went well" && o.Verdict == reports.Met || title == "What went wrong" && o.Verdict == reports.Missed {
				fmt.Fprintf(&b, "- %s: %s\n", o.Name, reports.Quantity(o.Measured, o.Unit))
			}
		}
		b.WriteString("- …\n\n")
	}
	section("Timeline")
	d.table(&b, "time", "what")
	for _, e := range timeline(d) {
		fmt.Fprintf(&b, "| %.1f s | %s |\n", e.at, cell(e.what))
	}
	section("Supporting information")
	fmt.Fprintf(&b, "- %s `%s`, scenario sha256 `%s`, seed %d\n- report.html, result.json, events.jsonl, tsdb/, logs/, %s\n", d.t("run id"), d.Run.ID, d.Run.ScenarioSHA256,
		d.Run.Seed, reports.ManifestFile)
	_, err := io.WriteString(w, b.String())
	return err
}

type moment struct {
	at   float64
	what string
}

// timeline lists what happened, in order.
func timeline(d Document) []moment {
	var out []moment
	add := func(at *float64, what string) {
		if at != nil {
			out = append(out, moment{*at, what})
		}
	}
	for _, p := range d.Phases {
		add(&p.From, d.t("phase")+" "+d.t(p.Name))
	}
	for _, r := range d.Responses {
		kind := ""
		for _, f := range d.Faults {
			if f.ID == r.Fault {
				kind = f.Kind
			}
		}
		for k, at := range r.T {
			add(at, fmt.Sprintf("%s %s: %s", r.Fault, kind, d.t(times[k])))
		}
	}
	for _, a := range d.Alerts {
		add(a.Fired, fmt.Sprintf("%s %s %s", d.t("alert"), a.Name, a.Severity))
	}
	for _, m := range d.Remarks {
		what := fmt.Sprintf("%s: %s", m.By, said(d, m))
		if m.Text != "" && m.What != reports.SaidAction {
			what += ": " + m.Text
		}
		add(&m.At, what)
	}
	slices.SortStableFunc(out, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	return out
}

// times are the moments of a response.
var times = [8]string{"T0 injected", "T1 first bad window", "T2 alert", "T3 acknowledged", "T4 cause named", "T5 mitigated", "T6 whole again", "T7 verified"}

func list(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ", ")
}
