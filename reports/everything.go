package reports

import (
	"context"
	"errors"
	"math"
	"path/filepath"

	"github.com/livedrill/livedrill/reports/record"
)

// Everything gives every SLI that the run in dir says something about, objectives or not: value, or p50, p95 and p99, and n.
func Everything(ctx context.Context, dir string) (Document, map[string]map[string]*float64, error) {
	d, err := Open(ctx, dir, "en")
	if err != nil {
		return d, nil, err
	}
	facts, err := ReadFacts(dir)
	if err != nil {
		return d, nil, err
	}
	db, err := record.ReadDatabase(filepath.Join(dir, "tsdb"))
	if err != nil {
		return d, nil, err
	}
	j := judge{Facts: facts, db: db}
	out := map[string]map[string]*float64{}
	w, ok := j.window(WholeRun)
	for _, sli := range SLIs {
		if !ok || err != nil {
			break
		}
		points := map[string]float64{"value": 0}
		if sli.Histogram != "" {
			points = map[string]float64{"p50": 0.5, "p95": 0.95, "p99": 0.99}
		}
		for name, q := range points {
			var m measurement
			if m, err = j.measure(ctx, Objective{SLI: sli.Name, Quantile: q}, sli, w); err != nil {
				break
			}
			if m.n > 0 && !math.IsNaN(m.value) {
				if out[sli.Name] == nil {
					out[sli.Name] = map[string]*float64{"n": &m.n}
				}
				out[sli.Name][name] = finite(m.value)
			}
		}
	}
	return d, out, errors.Join(err, db.Close())
}
