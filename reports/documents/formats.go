// Package documents writes a judged run in every form that people and machines read: one file for each form.
package documents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/livedrill/livedrill/reports"
)

// Format is one form in which a run can be written.
type Format struct {
	Name    string
	Summary string
	File    string // the file of it that every run directory has; empty: none
	Write   func(ctx context.Context, w io.Writer, d Document) error
}

// Document is all that a format may show, and in which language.
type Document struct {
	reports.Sheet
	Lang     string      // en or zh
	Baseline *Comparison // with an earlier run; nil: none was named
}

// Comparison is a run beside an earlier one, metric by metric.
type Comparison struct {
	With string
	Rows []ComparisonRow
}

// ComparisonRow is one metric in both runs.
type ComparisonRow struct {
	Metric, Unit  string
	Before, After *float64
	Change        *float64 // relative; nil where before is 0
}

// Formats lists every format.
var Formats = []Format{
	{"text", "a summary for the terminal", "", plain(writeText)},
	{"html", "one file that opens anywhere, without a network", "report.html", plain(writeHTML)},
	{"json", "result.json", "result.json", plain(writeResult)},
	{"junit", "JUnit XML for CI", "junit.xml", plain(writeJUnit)},
	{"markdown", "a summary for a pull request", "report.md", plain(writeMarkdown)},
	{"openmetrics", "the result's numbers for Prometheus and GitLab", "", plain(writeOpenMetrics)},
	{"postmortem", "a draft with every section of a post-mortem, in Markdown", "", plain(writePostMortem)},
	{"grafana", "a Grafana dashboard (JSON) of the run's figures", "", plain(writeGrafana)},
	{"openslo", "an OpenSLO document (YAML) of the same objectives", "", plain(writeOpenSLO)},
	{"zabbix", "the run's readings and result as input of zabbix_sender -T", "", plain(writeZabbix)},
	{"pdf", "the HTML report as PDF, printed by chromium", "", writePDF},
}

func plain(write func(io.Writer, Document) error) func(context.Context, io.Writer, Document) error {
	return func(_ context.Context, w io.Writer, d Document) error {
		var b bytes.Buffer
		if err := write(&b, d); err != nil {
			return err
		}
		_, err := io.WriteString(w, reports.Visible(b.String())) // a name in the record may have been made to move a terminal's cursor
		return err
	}
}

// FindFormat returns a format by its name.
func FindFormat(name string) (Format, error) {
	known := make([]string, len(Formats))
	for i, f := range Formats {
		if f.Name == name {
			return f, nil
		}
		known[i] = f.Name
	}
	return Format{}, fmt.Errorf("no format %q%s: there are %v", name, reports.Nearest(name, known), known)
}

// Open judges the run in dir and gives all that a document may show. It writes nothing.
func Open(ctx context.Context, dir, lang string) (Document, error) {
	s, err := reports.Judge(ctx, dir)
	return Document{Sheet: s, Lang: lang}, err
}

// Finish seals the record of the run in dir, judges it, writes every document that belongs there, and seals all of it.
func Finish(ctx context.Context, dir, lang string) (Document, error) {
	if err := reports.WriteManifest(dir); err != nil {
		return Document{}, err
	}
	d, err := Open(ctx, dir, lang)
	if err != nil {
		return d, err
	}
	for _, f := range Formats {
		if f.File == "" {
			continue
		}
		if err := writeFile(ctx, filepath.Join(dir, f.File), f, d); err != nil {
			return d, fmt.Errorf("write %s: %w", f.File, err)
		}
	}
	return d, reports.WriteManifest(dir)
}

func writeFile(ctx context.Context, path string, format Format, d Document) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(format.Write(ctx, f, d), f.Close())
}

// Compare puts a run beside an earlier one: every SLI of the whole run, and what it cost.
func Compare(before, after reports.Sheet) *Comparison {
	out := &Comparison{With: before.Run.ID}
	add := func(metric, unit string, b, a *float64) {
		if b == nil && a == nil {
			return
		}
		row := ComparisonRow{Metric: metric, Unit: unit, Before: b, After: a}
		if b != nil && a != nil && *b != 0 {
			change := *a / *b - 1
			row.Change = &change
		}
		out.Rows = append(out.Rows, row)
	}
	was, is := before.Whole(), after.Whole()
	for _, s := range reports.SLIs {
		for _, point := range []string{"value", "p50", "p95", "p99"} {
			name := s.Name
			if point != "value" {
				name += " " + point
			}
			add(name, s.Unit, was[s.Name][point], is[s.Name][point])
		}
	}
	for i, c := range after.Core {
		if i < len(before.Core) && before.Core[i].Name == c.Name {
			add(c.Name, c.Unit, before.Core[i].Mean, c.Mean)
		}
	}
	add("platform cores", "cores", &before.Costs.StackCores, &after.Costs.StackCores)
	add("ready after", "seconds", &before.Costs.ReadyAfter, &after.Costs.ReadyAfter)
	return out
}
