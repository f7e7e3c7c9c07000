package reports

import (
	"context"
	"math"
)

// Cell is one SLI in one phase and one region. A distribution has quantiles, a share has a value.
type Cell struct {
	SLI    string   `json:"sli"`
	Phase  string   `json:"phase"`
	Region string   `json:"region"` // "all", or one
	Unit   string   `json:"unit"`
	Value  *float64 `json:"value"`
	Low    *float64 `json:"low"` // 95 % bounds of a share, as if its events had nothing to do with each other
	High   *float64 `json:"high"`
	P50    *float64 `json:"p50"`
	P95    *float64 `json:"p95"`
	P99    *float64 `json:"p99"`
	N      float64  `json:"n"`
}

// AllRegions stands for the whole audience.
const AllRegions = "all"

// table measures every SLI in every phase and region that says something about it.
func (j *judge) table(ctx context.Context, r *Result) error {
	regions, err := j.values(ctx, "livedrill_load_offered_total", "region")
	if err != nil {
		return err
	}
	var phases []string
	for _, p := range j.Phases {
		phases = append(phases, p.Name)
	}
	phases = append(phases, WholeRun)
	for _, sli := range SLIs {
		for _, region := range append([]string{AllRegions}, regions...) {
			narrowed := sli
			if region != AllRegions {
				if narrowed = sli.In("region", region); sli.Value != "" || sli.Apart {
					continue
				}
			}
			for _, phase := range phases {
				cell, err := j.cell(ctx, narrowed, phase)
				if err != nil {
					return err
				}
				if cell.N > 0 {
					cell.Region = region
					r.Table = append(r.Table, cell)
				}
			}
		}
	}
	return nil
}

func (j *judge) cell(ctx context.Context, sli SLI, phase string) (Cell, error) {
	c := Cell{SLI: sli.Name, Phase: phase, Unit: sli.Unit}
	w, ok := j.window(phase)
	if !ok || sli.Value != "" && phase != WholeRun {
		return c, nil
	}
	if sli.Value != "" { // books are one for all regions, and compared at the end
		m, err := j.measure(ctx, Objective{SLI: sli.Name}, sli, w)
		if !math.IsNaN(m.n) {
			c.N, c.Value = m.n, finite(m.value)
		}
		return c, err
	}
	if sli.Histogram == "" {
		m, err := j.ratio(ctx, sli, w)
		if !math.IsNaN(m.n) && m.n > 0 {
			c.N, c.Value, c.Low, c.High = m.n, finite(m.value), finite(m.low), finite(m.high)
		}
		return c, err
	}
	n, err := j.number(ctx, sli.CountExpr(w), w.To)
	if err != nil || !(n > 0) {
		return c, err
	}
	c.N = n
	for q, into := range map[float64]**float64{0.5: &c.P50, 0.95: &c.P95, 0.99: &c.P99} {
		v, err := j.number(ctx, sli.QuantileExpr(q, w), w.To)
		if err != nil {
			return c, err
		}
		*into = finite(v)
	}
	return c, nil
}

// Whole gives every SLI of the whole run and audience by name: value with low and high where it is a share, or p50, p95 and p99, and n.
func (r Result) Whole() map[string]map[string]*float64 {
	out := map[string]map[string]*float64{}
	for _, c := range r.Table {
		if c.Phase != WholeRun || c.Region != AllRegions {
			continue
		}
		values := map[string]*float64{"n": &c.N}
		for name, v := range map[string]*float64{"value": c.Value, "low": c.Low, "high": c.High, "p50": c.P50, "p95": c.P95, "p99": c.P99} {
			if v != nil {
				values[name] = v
			}
		}
		out[c.SLI] = values
	}
	return out
}
