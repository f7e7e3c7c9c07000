package documents

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// The rows of a trace's picture, and the room for their names.
const (
	rowHeight  = 20.0
	namesWidth = 240.0
	mostRows   = 24
)

// waterfall draws a trace: one row for each part, below the one that it belongs to.
func waterfall(d Document, t reports.Trace) template.HTML {
	spans := t.Spans[:min(len(t.Spans), mostRows)]
	height := rowHeight*float64(len(spans)) + bottom
	x := func(s float64) float64 { return namesWidth + min(s/max(t.Took, 1e-9), 1)*(plotWidth-namesWidth-right) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, plotWidth, height, template.HTMLEscapeString(d.t(t.What)+" "+t.ID))
	step := niceStep(t.Took / 5)
	for at := 0.0; at <= t.Took*1.0001; at += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="0" y2="%g"/><text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`,
			x(at), x(at), height-bottom, x(at), height-6, tick(at, "seconds"))
	}
	for i, s := range spans {
		y, class := float64(i)*rowHeight, "span"
		if s.Hop == t.Hop {
			class += " here"
		}
		if s.Failed {
			class += " broken"
		}
		name := strings.Repeat("\u00a0\u00a0", s.Depth) + s.Name
		if s.Hop != "" && s.Hop != s.Name {
			name += " · " + s.Hop
		}
		fmt.Fprintf(&b, `<text class="spanname" x="4" y="%.1f">%s</text><rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%g" rx="2"><title>%s</title></rect>`,
			y+rowHeight-6, template.HTMLEscapeString(name), class, x(s.From), y+4, max(1.5, x(s.To)-x(s.From)), rowHeight-8,
			template.HTMLEscapeString(fmt.Sprintf("%s %s %s", s.Name, reports.Quantity(lasts(s), "seconds"), d.t(s.Why))))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // every text in it is escaped above
}

func lasts(s reports.TraceSpan) *float64 {
	d := s.To - s.From
	return &d
}
