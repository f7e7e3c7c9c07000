package documents

import (
	"encoding/json"
	"io"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// writeGrafana gives a dashboard with the report's figures and the twelve core metrics, for a Prometheus that reads the run's
// tsdb folder or scrapes a kept range.
func writeGrafana(w io.Writer, d Document) error {
	type object = map[string]any
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var panels []object
	add := func(title, unit string, targets []object) {
		n := len(panels)
		panels = append(panels, object{"id": n + 1, "type": "timeseries", "title": title, "datasource": source, "targets": targets,
			"gridPos":     object{"x": n % 2 * 12, "y": n / 2 * 8, "w": 12, "h": 8},
			"fieldConfig": object{"defaults": object{"unit": grafanaUnit(unit), "min": 0}, "overrides": []any{}}})
	}
	for _, c := range reports.Curves {
		var targets []object
		for i, s := range c.Curves {
			legend := d.t(s.Name)
			if s.By != "" {
				legend = "{{" + s.By + "}}"
			}
			targets = append(targets, object{"refId": string(rune('A' + i)), "expr": rated(s.Expr), "legendFormat": legend, "datasource": source})
		}
		add(d.t(c.Title), c.Unit, targets)
	}
	for _, c := range reports.CoreMetrics {
		add(d.t(c.Name), c.Unit, []object{{"refId": "A", "expr": rated(c.Expr), "datasource": source}})
	}
	from, to := d.Run.Started, d.Run.Started.Add(durationOf(d.Run.Duration))
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(object{"title": "livedrill " + d.Run.Scenario, "description": d.t(d.TimeNote), "uid": uid("livedrill-" + d.Run.Scenario), "schemaVersion": 39, "version": 1, "editable": true,
		"timezone": "browser", "refresh": "", "time": object{"from": from.UTC().Format("2006-01-02T15:04:05.000Z"), "to": to.UTC().Format("2006-01-02T15:04:05.000Z")},
		"templating": object{"list": []object{{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}}},
		"panels":     panels, "annotations": object{"list": []any{}}, "tags": []string{"livedrill"}})
}

// rated gives Grafana the window that fits its zoom.
func rated(expr string) string {
	return strings.NewReplacer("[3s]", "[$__rate_interval]", "[5s]", "[$__rate_interval]").Replace(expr)
}

func grafanaUnit(unit string) string {
	switch unit {
	case "ratio":
		return "percentunit"
	case "seconds":
		return "s"
	case "bytes/s":
		return "Bps"
	}
	return "short"
}

// uid is at most 40 plain characters.
func uid(name string) string { return name[:min(len(name), 40)] }
