package documents

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// columnOf says where a kind of component stands in the platform's picture, from the publishers to the viewers. Kinds that are
// not named stand below, in the column of the stores.
var columnOf = map[string]int{"load": 0, "ingest": 1, "gateway": 1, "dns": 1, "transcode": 2, "danmaku": 2, "origin": 3, "redis": 3, "mariadb": 3, "mariadb-replica": 3, "ranking": 2, "edge": 4, "viewers": 5}

// links are the ways that data takes between kinds.
var links = [][2]string{{"load", "ingest"}, {"load", "gateway"}, {"ingest", "transcode"}, {"transcode", "origin"}, {"origin", "edge"}, {"edge", "viewers"},
	{"gateway", "redis"}, {"gateway", "mariadb"}, {"danmaku", "redis"}, {"gateway", "danmaku"}, {"redis", "ranking"}, {"gateway", "mariadb-replica"}, {"mariadb", "mariadb-replica"}}

const (
	boxWidth, boxHeight = 104.0, 30.0
	gapX, gapY          = 28.0, 12.0
)

// picture draws the platform, with what was hit in red.
func picture(d Document) template.HTML {
	if len(d.Topology) == 0 {
		return ""
	}
	nodes := append([]reports.Node{{Name: d.t("publishers, users"), Kind: "load"}}, d.Topology...)
	if !slices.ContainsFunc(nodes, func(n reports.Node) bool { return n.Kind == "viewers" }) { // a record of an earlier livedrill
		nodes = append(nodes, reports.Node{Name: d.t("viewers"), Kind: "viewers"})
	}
	hit := map[string][]string{}
	for _, f := range d.Faults {
		hit[f.On] = append(hit[f.On], f.ID+" "+f.Kind)
	}
	type box struct{ x, y float64 }
	places, heights := map[string]box{}, [6]float64{}
	for _, n := range nodes {
		column, ok := columnOf[n.Kind]
		if !ok {
			column = 3
		}
		places[n.Name] = box{4 + float64(column)*(boxWidth+gapX), 4 + heights[column]}
		heights[column] += boxHeight + gapY + 10
	}
	height := slices.Max(heights[:]) + 8
	for _, n := range nodes { // short columns stand in the middle
		column, ok := columnOf[n.Kind]
		if !ok {
			column = 3
		}
		p := places[n.Name]
		p.y += (height - 8 - heights[column]) / 2
		places[n.Name] = p
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="picture" viewBox="0 0 %g %g" role="img" aria-label="%s">`, 6*boxWidth+5*gapX+8, height, template.HTMLEscapeString(d.t("The platform")))
	for _, l := range links {
		for _, from := range nodes {
			for _, to := range nodes {
				if from.Kind == l[0] && to.Kind == l[1] {
					a, z := places[from.Name], places[to.Name]
					fmt.Fprintf(&b, `<path class="link" d="M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f"/>`, a.x+boxWidth, a.y+boxHeight/2, a.x+boxWidth+gapX/2, a.y+boxHeight/2,
						z.x-gapX/2, z.y+boxHeight/2, z.x, z.y+boxHeight/2)
				}
			}
		}
	}
	for _, n := range nodes {
		p, class := places[n.Name], "node"
		if len(hit[n.Name]) > 0 {
			class += " hit"
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%g" height="%g" rx="5"/><text class="nodename" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`,
			class, p.x, p.y, boxWidth, boxHeight, p.x+boxWidth/2, p.y+boxHeight/2+4, template.HTMLEscapeString(n.Name))
		if len(hit[n.Name]) > 0 {
			fmt.Fprintf(&b, `<text class="bandname" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, p.x+boxWidth/2, p.y+boxHeight+11,
				template.HTMLEscapeString(strings.Join(hit[n.Name], ", ")))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // every text in it is escaped above
}
