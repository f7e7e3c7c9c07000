package gate

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/documents"
)

// Format is one form in which a comparison can be written.
type Format struct {
	Name    string
	Summary string
	Write   func(io.Writer, Result) error
}

// Formats lists every format.
var Formats = []Format{
	{"text", "a table for the terminal", visible(writeText)},
	{"markdown", "for a pull request, or GitHub's step summary", visible(writeMarkdown)},
	{"github", "annotations, as GitHub's runners read them from the output", visible(writeGitHub)},
	{"junit", "JUnit XML for CI", visible(writeJUnit)},
	{"gitlab", "GitLab's metrics report (OpenMetrics)", visible(writeGitLab)},
}

// visible keeps what could move a terminal's cursor out of a form.
func visible(write func(io.Writer, Result) error) func(io.Writer, Result) error {
	return func(w io.Writer, r Result) error {
		var b strings.Builder
		if err := write(&b, r); err != nil {
			return err
		}
		_, err := io.WriteString(w, reports.Visible(b.String()))
		return err
	}
}

// mean prints a side's mean.
func (j Judged) mean(v *float64) string { return reports.Quantity(v, j.Unit) }

func p(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.2g", *v)
}

func writeText(w io.Writer, r Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	how := "two groups"
	if r.Paired {
		how = "pairs"
	}
	fmt.Fprintf(t, "%s (%d against %d runs, %s)\n", strings.ToUpper(r.Verdict.String()), len(r.Runs), len(r.Baseline), how)
	for _, reason := range r.Reasons {
		fmt.Fprintf(t, "  - %s\n", reason)
	}
	fmt.Fprint(t, "\nMETRIC\tBASELINE\tCANDIDATE\tCHANGE, 95 %\tP (t)\tP (ranks)\tP (worse, corrected)\tDELTA\tMATTERS FROM\tVERDICT\n")
	for _, j := range r.Metrics {
		least := fmt.Sprintf("%.3g %%", j.Least*100)
		if j.Absolute {
			least = fmt.Sprintf("%.4g", j.Least)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%+.2f\t%s\t%s\n", j.Metric, j.mean(j.Baseline), j.mean(j.Candidate), j.words(), p(j.WelchP), p(j.RankP), p(j.Adjusted),
			j.Effect, least, j.Verdict)
	}
	for _, j := range r.Metrics {
		if j.Note != "" && j.Verdict != CannotTell { // which is among the reasons
			fmt.Fprintf(t, "%s: %s\n", j.Metric, j.Note)
		}
	}
	return t.Flush()
}

func writeMarkdown(w io.Writer, r Result) error {
	mark := map[Verdict]string{Better: "🟢", Same: "⚪", Worse: "🔴", CannotTell: "⚠️"}
	var b strings.Builder
	fmt.Fprintf(&b, "## %s livedrill gate: %s\n\n%d against %d runs\n\n", mark[r.Verdict], r.Verdict, len(r.Runs), len(r.Baseline))
	for _, reason := range r.Reasons {
		fmt.Fprintf(&b, "- %s\n", strings.NewReplacer("|", "\\|", "<", "&lt;", "@", "&#64;").Replace(reason))
	}
	b.WriteString("\n| metric | baseline | candidate | change, 95 % | corrected p | |\n|---|---|---|---|---|---|\n")
	for _, j := range r.Metrics {
		note := ""
		if j.Note != "" {
			note = "<br>" + j.Note
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s %s%s |\n", j.Metric, j.mean(j.Baseline), j.mean(j.Candidate), j.words(), p(j.Adjusted), mark[j.Verdict], j.Verdict, note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGitHub writes workflow commands: one annotation for each metric that is worse or not decided.
func writeGitHub(w io.Writer, r Result) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, j := range r.Metrics {
		level := map[Verdict]string{Worse: "error", CannotTell: "warning"}[j.Verdict]
		if level == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "::%s title=%s::%s\n", level, property.Replace("livedrill: "+j.Metric+" "+j.Verdict.String()), data.Replace(j.words())); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "::notice title=livedrill gate::%s\n", data.Replace(r.Verdict.String()))
	return err
}

func writeJUnit(w io.Writer, r Result) error {
	s := &documents.JUnit{Name: "livedrill.gate"}
	for _, j := range r.Metrics {
		s.Add("gate", j.Metric, j.Verdict == Worse, j.Verdict == CannotTell, fmt.Sprintf("%s: %s", j.Verdict, j.words()))
	}
	s.Add("gate", "verdict", r.Verdict == Worse, r.Verdict == CannotTell, strings.Join(r.Reasons, "; "))
	return s.Write(w)
}

func writeGitLab(w io.Writer, r Result) error {
	var b strings.Builder
	b.WriteString("# TYPE livedrill_gate gauge\n# HELP livedrill_gate The candidate's mean of each metric.\n")
	for _, j := range r.Metrics {
		if j.Candidate != nil {
			fmt.Fprintf(&b, "livedrill_gate{metric=%q,verdict=%q} %g\n", j.Metric, j.Verdict.String(), *j.Candidate)
		}
	}
	b.WriteString("# EOF\n")
	_, err := io.WriteString(w, b.String())
	return err
}
