package documents

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// The size of a figure, and of the room for its axes.
const (
	plotWidth, plotHeight = 720.0, 180.0
	left, right           = 56.0, 8.0
	top, bottom           = 8.0, 22.0

	letter = 6.0 // the width of one, about
)

// band is a stretch of time that every figure shades.
type band struct {
	From, To float64
	Label    string
}

// draw makes a figure as a still: it is what the page shows where scripts are off.
func draw(d Document, c reports.Chart, bands []band) template.HTML {
	duration := d.Run.Duration
	highest := 0.0
	for _, s := range c.Series {
		for _, p := range s.Points {
			highest = max(highest, p.V)
		}
	}
	step := niceStep(highest / 4)
	if c.Unit == "ratio" && highest > 0.5 {
		step = 0.25
	}
	ceiling := max(step, math.Ceil(highest/step-1e-9)*step)
	x := func(t float64) float64 { return left + t/max(duration, 1)*(plotWidth-left-right) }
	y := func(v float64) float64 { return plotHeight - bottom - v/ceiling*(plotHeight-top-bottom) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, plotWidth, plotHeight, template.HTMLEscapeString(d.t(c.Title)))
	var ends []float64 // of the names on each line: one that would stand on another goes below it
	for _, k := range bands {
		line := slices.IndexFunc(ends, func(end float64) bool { return end < x(k.From) })
		if line < 0 {
			line, ends = len(ends), append(ends, 0)
		}
		ends[line] = x(k.From) + 3 + letter*float64(len(k.Label))
		fmt.Fprintf(&b, `<rect class="band" x="%.1f" y="%g" width="%.1f" height="%g"/><text class="bandname" x="%.1f" y="%g">%s</text>`,
			x(k.From), top, max(1, x(k.To)-x(k.From)), plotHeight-top-bottom, x(k.From)+3, top+10+12*float64(line), template.HTMLEscapeString(k.Label))
	}
	for v := 0.0; v <= ceiling*1.0001; v += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, plotWidth-right, y(v), y(v), left-5, y(v)+3.5, tick(v, c.Unit))
	}
	every := niceStep(duration / 8)
	for t := 0.0; t <= duration; t += every {
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">%g s</text>`, x(t), plotHeight-6, t)
	}
	for i, s := range c.Series {
		var path strings.Builder
		before := math.Inf(-1)
		for _, p := range s.Points {
			verb := "L"
			if p.T-before > math.Max(2.5, duration/200) { // a gap in the record stays a gap in the curve
				verb = "M"
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", verb, x(p.T), y(p.V))
			before = p.T
		}
		fmt.Fprintf(&b, `<path class="curve c%d" d="%s"/>`, i%6, path.String())
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // every text in it is escaped above
}

// niceStep gives 1, 2 or 5 times a power of ten, at least v.
func niceStep(v float64) float64 {
	if v <= 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*power*1.0001 {
			return m * power
		}
	}
	return 10 * power
}

func tick(v float64, unit string) string {
	switch {
	case unit == "ratio":
		return fmt.Sprintf("%g %%", math.Round(v*1e4)/1e2)
	case unit == "seconds" && v > 0 && v < 1:
		return fmt.Sprintf("%g ms", math.Round(v*1e5)/1e2)
	case unit == "seconds":
		return fmt.Sprintf("%g s", math.Round(v*1e4)/1e4)
	}
	return fmt.Sprintf("%g", math.Round(v*1e4)/1e4)
}
