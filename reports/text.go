package reports

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
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

// Mean is the number that stands for a fault's effect in tables: the first of what was asked, and its measured value.
func (f Fault) Mean() (name string, asked, measured *float64) {
	for _, key := range []string{"loss_ratio", "delay_seconds", "bits_per_second", "speed_ratio", "refused_write_ratio"} {
		if a, ok := f.Asked[key]; ok {
			m, measuredToo := f.Measured[key]
			if !measuredToo {
				return key, &a, nil
			}
			return key, &a, &m
		}
	}
	return "", nil, nil
}

func effectUnit(name string) string {
	for _, unit := range []string{"ratio", "seconds"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	return ""
}

// writeText is the summary that ends a run on a terminal.
func writeText(w io.Writer, d Document) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\n%s on %s: %s\n", d.Run.Scenario, d.Run.Profile, strings.ToUpper(d.Verdict.String()))
	for _, reason := range d.Reasons {
		fmt.Fprintf(t, "  - %s\n", reason)
	}
	fmt.Fprint(t, "\nOBJECTIVE\tLIMIT\tMEASURED\t95% BOUNDS\tN\tVERDICT\n")
	for _, o := range d.Objectives {
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\t%s\t%s\n", o.Name, o.Op, Quantity(&o.Threshold, o.Unit), Quantity(o.Measured, o.Unit),
			Bounds(o.Low, o.High, o.Unit), Count(o.N), o.Verdict)
	}
	if len(d.Faults) > 0 {
		fmt.Fprint(t, "\nFAULT\tON\tBY\tASKED\tMEASURED\tFROM\tCLEAN\tSTATE\n")
		for _, f := range d.Faults {
			name, asked, measured := f.Mean()
			unit := effectUnit(name)
			fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.Kind, f.On, f.BackEnd, Quantity(asked, unit), Quantity(measured, unit),
				seconds(f.Injected), seconds(f.Clean), f.State)
		}
	}
	if len(d.Impact) > 0 {
		fmt.Fprint(t, "\nFAULT\tHURT\tFIRST SEEN AFTER\tWHOLE AFTER\tWORST\n")
		for _, i := range d.Impact {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", i.Fault, i.Objective, seconds(i.Detected), seconds(i.Whole),
				Quantity(&i.Worst, d.unitOf(i.Objective)))
		}
	}
	fmt.Fprint(t, "\nLOAD\tKIND\tASKED\tMADE\tFAILED\tLATE P99\tSTATE\n")
	for _, l := range d.Loads {
		fmt.Fprintf(t, "%s\t%s\t%.1f/s\t%.1f/s\t%s\t%.0f ms\t%s\n", l.Name, l.Kind, l.RateOffered, l.RateAchieved, Count(l.Failed), l.LateP99, l.State)
	}
	fmt.Fprintln(t)
	for _, c := range d.Consistency {
		fmt.Fprintf(t, "%s\t%s\n", c.Check, c.Detail)
	}
	for _, n := range d.Notes {
		fmt.Fprintf(t, "note\t%s\n", n)
	}
	fmt.Fprintf(t, "cost\tplatform ready after %.1f s; timeline, record and faults used %.3f cores\n", d.Costs.ReadyAfter, d.Costs.RangeCores)
	return t.Flush()
}

func (r Result) unitOf(objective string) string {
	for _, o := range r.Objectives {
		if o.Name == objective {
			return o.Unit
		}
	}
	return ""
}

// writeMarkdown fits a comment on a pull request.
func writeMarkdown(w io.Writer, d Document) error {
	var b strings.Builder
	mark := map[Verdict]string{Passed: "✅", Met: "✅", Missed: "❌"}
	symbol := func(v Verdict) string {
		if s, ok := mark[v]; ok {
			return s
		}
		return "⚠️"
	}
	fmt.Fprintf(&b, "## %s `%s` on `%s`: %s\n\n", symbol(d.Verdict), d.Run.Scenario, d.Run.Profile, d.Verdict)
	for _, r := range d.Reasons {
		fmt.Fprintf(&b, "- %s\n", cell(r))
	}
	b.WriteString("\n| objective | limit | measured | 95 % bounds | n | |\n|---|---|---|---|---|---|\n")
	for _, o := range d.Objectives {
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s | %s | %s %s |\n", cell(o.Name), o.Op, Quantity(&o.Threshold, o.Unit), Quantity(o.Measured, o.Unit),
			Bounds(o.Low, o.High, o.Unit), Count(o.N), symbol(o.Verdict), o.Verdict)
	}
	if len(d.Faults) > 0 {
		b.WriteString("\n| fault | on | by | asked | measured | state |\n|---|---|---|---|---|---|\n")
		for _, f := range d.Faults {
			name, asked, measured := f.Mean()
			fmt.Fprintf(&b, "| %s %s | %s | %s | %s | %s | %s |\n", f.ID, f.Kind, f.On, f.BackEnd, Quantity(asked, effectUnit(name)),
				Quantity(measured, effectUnit(name)), f.State)
		}
	}
	fmt.Fprintf(&b, "\nRun `%s`, seed %d, livedrill %s, %d cores.\n", d.Run.ID, d.Run.Seed, d.Run.Version, d.Run.Machine.Cores)
	_, err := io.WriteString(w, b.String())
	return err
}

// cell keeps a text inside its table cell.
func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }

// The JUnit form that CI systems read: one test case for each objective and each fault.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Error   *junitMessage `xml:"error,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
}

func writeJUnit(w io.Writer, d Document) error {
	suite := junitSuite{Name: "livedrill." + d.Run.Scenario, Time: fmt.Sprintf("%.3f", d.Run.Duration),
		Stamp: d.Run.Started.UTC().Format("2006-01-02T15:04:05")}
	add := func(c junitCase, failed, broken bool, message string) {
		if failed {
			c.Failure = &junitMessage{message}
			suite.Failures++
		} else if broken {
			c.Error = &junitMessage{message}
			suite.Errors++
		}
		suite.Cases = append(suite.Cases, c)
		suite.Tests++
	}
	for _, o := range d.Objectives {
		add(junitCase{Name: o.Name, Class: "objective"}, o.Verdict == Missed, o.Verdict != Met && o.Verdict != Missed,
			fmt.Sprintf("%s: %s, limit %s %s. %s", o.Verdict, Quantity(o.Measured, o.Unit), o.Op, Quantity(&o.Threshold, o.Unit), o.Why))
	}
	for _, f := range d.Faults {
		add(junitCase{Name: f.ID + " " + f.Kind, Class: "fault"}, false, f.State != "restored", f.State+": "+f.Error)
	}
	for _, c := range d.Consistency {
		add(junitCase{Name: c.Check, Class: "consistency"}, false, !c.OK, c.Detail)
	}
	// The run's own verdict: an interrupted run with every objective met is no success.
	add(junitCase{Name: "verdict", Class: "run"}, d.Verdict == RunMissed, d.Verdict != Passed && d.Verdict != RunMissed,
		strings.Join(d.Reasons, "; "))
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
