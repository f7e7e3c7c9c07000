package documents

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"time"

	"github.com/livedrill/livedrill/reports"
)

//go:embed report.html.tmpl
var page string

//go:embed report.css
var styles string

//go:embed report.js
var script string

//go:embed assets/uPlot.js
var uPlotScript string

//go:embed assets/uPlot.css
var uPlotStyles string

// view is what the page's template sees.
type view struct {
	Document
	Headline  []headline
	Figures   []figure
	HeatMaps  []heatMap
	Picture   template.HTML
	Defs      []reports.SLI
	Styles    template.CSS
	Scripts   template.JS
	Columns   []string // phases of the table
	Regions   []string
	TimeNames []string
}

type headline struct{ Label, Value, Note string }

type figure struct {
	Title string
	SVG   template.HTML
	Data  template.JS // the points, for the script
	Names []string
}

// writeHTML writes the whole report as one file that opens anywhere without a network.
func writeHTML(w io.Writer, d Document) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"t": d.t, "bounds": d.bounds, "quantity": reports.Quantity, "count": reports.Count, "seconds": seconds, "briefly": briefly, "percent": reports.Percent,
		"of": func(v float64) *float64 { return &v }, "at": func(v *float64) float64 { return *v }, "unit": func(objective string) string { return unitOf(d.Result, objective) },
		"effect": func(f reports.Fault) map[string]string {
			asked, measured := effect(f)
			return map[string]string{"asked": asked, "measured": measured}
		},
		"points": points, "cells": d.cells, "times": func(i int) string { return d.t(times[i]) },
		"duration": func(s float64) string { return reports.Span(durationOf(s)) },
		"num":      func(v float64) string { return fmt.Sprintf("%.4g", v) },
		"plus":     change,
		"byFault":  byFault,
		"missing": func(all []reports.Sign) []reports.Sign {
			return slices.DeleteFunc(slices.Clone(all), func(s reports.Sign) bool { return s.Value != nil })
		},
		"waterfall": func(t reports.Trace) template.HTML { return waterfall(d, t) },
		"unmade":    func(l reports.Load) float64 { return max(0, l.Offered-l.Achieved) },
		"opt": func(form string, v *float64) string {
			if v == nil {
				return "-"
			}
			return fmt.Sprintf(form, *v)
		},
		"num100": func(v float64) float64 { return v * 100 },
		"slis": func() (out []string) {
			for _, s := range reports.SLIs {
				out = append(out, s.Name)
			}
			return out
		},
		"any": func(b []reports.Blast) bool {
			return slices.ContainsFunc(b, func(x reports.Blast) bool { return x.Hit })
		},
	}).Parse(page)
	if err != nil {
		return err
	}
	bands := bandsOf(d)
	v := view{Document: d, Headline: headlines(d), Picture: picture(d), Styles: template.CSS(uPlotStyles + styles), //nolint:gosec // our own files
		Scripts: template.JS(uPlotScript + "\n" + script), TimeNames: times[:]} //nolint:gosec // as above
	for _, c := range d.Charts {
		data, err := json.Marshal(aligned(d, c, bands))
		if err != nil {
			return err
		}
		f := figure{Title: c.Title, SVG: draw(d, c, bands), Data: template.JS(data)} //nolint:gosec // JSON of numbers and our own names
		for _, s := range c.Series {
			f.Names = append(f.Names, d.t(s.Name))
		}
		v.Figures = append(v.Figures, f)
	}
	for _, h := range d.Heats {
		m, err := drawHeat(h, bands)
		if err != nil {
			return err
		}
		v.HeatMaps = append(v.HeatMaps, m)
	}
	for _, o := range d.Objectives {
		if sli, ok := reports.FindSLI(o.SLI); ok && !slices.ContainsFunc(v.Defs, func(s reports.SLI) bool { return s.Name == sli.Name }) {
			v.Defs = append(v.Defs, sli)
		}
	}
	for _, c := range d.Table {
		if sli, ok := reports.FindSLI(c.SLI); ok && !slices.ContainsFunc(v.Defs, func(s reports.SLI) bool { return s.Name == sli.Name }) {
			v.Defs = append(v.Defs, sli)
		}
		if !slices.Contains(v.Regions, c.Region) {
			v.Regions = append(v.Regions, c.Region)
		}
	}
	for _, p := range d.Phases {
		v.Columns = append(v.Columns, p.Name)
	}
	v.Columns = append(v.Columns, reports.WholeRun)
	return t.Execute(w, v)
}

// bandsOf are the faults as stretches of time.
func bandsOf(d Document) []band {
	var out []band
	for _, f := range d.Faults {
		if f.Injected != nil {
			to := d.Run.Duration
			if f.Clean != nil {
				to = *f.Clean
			}
			out = append(out, band{*f.Injected, to, f.Kind})
		}
	}
	return out
}

// aligned is a chart's data as uPlot reads it: one list of times, and for each curve a value or null at each of them.
func aligned(d Document, c reports.Chart, bands []band) map[string]any {
	place := map[float64]int{}
	var at []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			t := math.Round(p.T*10) / 10
			if _, ok := place[t]; !ok {
				place[t] = 0
				at = append(at, t)
			}
		}
	}
	slices.Sort(at)
	for i, t := range at {
		place[t] = i
	}
	data := []any{at}
	var names []string
	for _, s := range c.Series {
		values := make([]*float64, len(at))
		for _, p := range s.Points {
			v := math.Round(p.V*1e6) / 1e6
			values[place[math.Round(p.T*10)/10]] = &v
		}
		data = append(data, values)
		names = append(names, d.t(s.Name))
	}
	shaded := []any{}
	for _, b := range bands {
		shaded = append(shaded, []any{math.Round(b.From*10) / 10, math.Round(b.To*10) / 10, b.Label})
	}
	return map[string]any{"unit": c.Unit, "duration": d.Run.Duration, "names": names, "data": data, "bands": shaded}
}

// headlines are the three numbers that matter: what held, what users had, and how long until all was well again.
func headlines(d Document) []headline {
	met := 0
	for _, o := range d.Objectives {
		if o.Verdict == reports.Met {
			met++
		}
	}
	out := []headline{{"objectives met", fmt.Sprintf("%d / %d", met, len(d.Objectives)), fmt.Sprintf("%d faults proven and restored", proven(d))}}
	available := headline{"availability in the drill", "-", "nobody used the platform"}
	if d.SLA != nil {
		available.Value, available.Note = reports.Percent(d.SLA.InDrill.Value), ""
		if f := d.SLA.FaultExcluded; f != nil {
			available.Note = fmt.Sprintf("%s without the faults", reports.Percent(f.Value))
		}
	}
	slowest, open, unseen := 0.0, 0, 0
	for _, r := range d.Responses {
		switch {
		case r.RTO != nil:
			slowest = max(slowest, *r.RTO)
		case len(r.Hurt) > 0:
			open++
		default:
			unseen++
		}
	}
	last := headline{"longest time to recover", "-", ""}
	switch {
	case len(d.Responses) == 0:
		last.Note = "no fault was injected"
	case open > 0:
		last.Note = fmt.Sprintf("%d faults were not whole again within the run", open)
	case unseen > 0:
		last.Note = fmt.Sprintf("of %d faults no objective could tell", unseen)
	case slowest == 0:
		last.Value, last.Note = seconds(&slowest), "no fault hurt an objective"
	default:
		last.Value = seconds(&slowest)
	}
	return append(out, available, last)
}

func proven(d Document) (n int) {
	for _, f := range d.Faults {
		if f.State == "restored" {
			n++
		}
	}
	return n
}

// cells finds an SLI's row of the table for one region.
func (d Document) cells(sli, region string) map[string]reports.Cell {
	out := map[string]reports.Cell{}
	for _, c := range d.Table {
		if c.SLI == sli && c.Region == region {
			out[c.Phase] = c
		}
	}
	return out
}

// points prints what a cell measured: a value, or the three quantiles.
func points(c reports.Cell) string {
	if c.N == 0 {
		return "-"
	}
	if c.Value != nil {
		return reports.Quantity(c.Value, c.Unit)
	}
	return reports.Quantity(c.P50, c.Unit) + " / " + reports.Quantity(c.P95, c.Unit) + " / " + reports.Quantity(c.P99, c.Unit)
}

// burning is how fast one fault burns a budget, and when each of the usual alerts on it would come.
type burning struct {
	Fault  string
	Rate   float64
	Alarms []reports.Burn
}

func byFault(burns []reports.Burn) []burning {
	var out []burning
	for _, b := range burns {
		at := slices.IndexFunc(out, func(o burning) bool { return o.Fault == b.Fault })
		if at < 0 {
			at = len(out)
			out = append(out, burning{Fault: b.Fault, Rate: b.Rate})
		}
		out[at].Alarms = append(out[at].Alarms, b)
	}
	return out
}

func change(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1f %%", *v*100)
}

func durationOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
