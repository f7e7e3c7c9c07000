package reports

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/livedrill/livedrill/reports/record"
)

// judge is one judging of one run.
type judge struct {
	Facts
	db *record.Database
}

// judgeFacts computes the result of the run in dir from its facts and its time series, and the curves of its report.
func judgeFacts(ctx context.Context, dir string, facts Facts) (Result, []Chart, error) {
	db, err := record.ReadDatabase(filepath.Join(dir, "tsdb"))
	if err != nil {
		return Result{}, nil, err
	}
	j := judge{Facts: facts, db: db}
	result, err := j.result(ctx)
	if err != nil {
		return result, nil, errors.Join(err, db.Close())
	}
	charts, err := j.charts(ctx)
	return result, charts, errors.Join(err, db.Close())
}

func (j judge) result(ctx context.Context) (Result, error) {
	r := Result{Schema: Schema, Run: j.Run, Phases: j.Phases, Faults: j.Faults, Reasons: []string{}, Impact: []Impact{},
		Alerts: []Alert{}, Consistency: []Check{}, Objectives: []Judged{}, Loads: []Load{}}
	if r.Phases == nil {
		r.Phases = []Phase{}
	}
	if r.Faults == nil {
		r.Faults = []Fault{}
	}
	if len(j.Phases) == 0 {
		r.Verdict = Interrupted
		if !j.Interrupted {
			r.Verdict = Inconclusive
		}
		r.Reasons = append(r.Reasons, append(j.Problems, "no phase was reached: there is nothing to judge")...)
		return r, nil
	}
	var err error
	if r.Loads, err = j.loads(ctx); err != nil {
		return r, err
	}
	saturated := ""
	for _, l := range r.Loads {
		if l.State == "saturated" {
			saturated = l.Name
		}
	}
	for _, o := range j.Objectives {
		judged, err := j.objective(ctx, o)
		if err != nil {
			return r, err
		}
		if saturated != "" && judged.Verdict != NotMeasured {
			judged.Verdict, judged.Why = Invalid, fmt.Sprintf("the load %q could not keep its pace", saturated)
		}
		r.Objectives = append(r.Objectives, judged)
	}
	if r.Impact, err = j.impact(ctx); err != nil {
		return r, err
	}
	if r.Consistency, err = j.consistency(ctx); err != nil {
		return r, err
	}
	if r.Costs, err = j.costs(ctx); err != nil {
		return r, err
	}
	r.Verdict, r.Reasons = j.verdict(r)
	return r, nil
}

// objective measures one objective with its bounds.
func (j judge) objective(ctx context.Context, o Objective) (Judged, error) {
	sli, _ := FindSLI(o.SLI)
	out := Judged{Name: o.Name, SLI: o.SLI, Phase: o.During, Op: o.Op, Threshold: o.Threshold, Unit: sli.Unit,
		Verdict: NotMeasured, Definition: sli.Definition, Expr: o.Expr}
	if o.Quantile > 0 {
		out.Quantile = &o.Quantile
	}
	w, ok := j.window(o.During)
	if !ok {
		out.Why = fmt.Sprintf("the run did not come to %q", o.During)
		return out, nil
	}
	m, err := j.measure(ctx, o, sli, w)
	if err != nil && ctx.Err() != nil {
		return out, err
	}
	if err != nil { // the user's own PromQL, say: the report is written all the same
		out.Why = err.Error()
		return out, nil //nolint:nilerr // it is said in the objective
	}
	out.Expr = m.expr
	if math.IsNaN(m.value) || !(m.n > 0) {
		out.Why = "there was nothing to measure"
		return out, nil
	}
	out.N = m.n
	out.Measured = finite(m.value)
	out.Low, out.High = finite(m.low), finite(m.high)
	switch holds := o.Holds(m.value); {
	case holds && o.Holds(m.low) && o.Holds(m.high):
		out.Verdict = Met
	case !holds && !o.Holds(m.low) && !o.Holds(m.high):
		out.Verdict = Missed
	default:
		out.Verdict = NotProvable
		out.Why = fmt.Sprintf("%.0f events are too few: the limit is within the 95%% bounds", m.n)
	}
	return out, nil
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// measurement is a value with its 95 % bounds and the events behind it.
type measurement struct {
	value, low, high, n float64
	expr                string
}

func (j judge) measure(ctx context.Context, o Objective, sli SLI, w Window) (measurement, error) {
	switch {
	case o.Expr != "":
		return j.worst(ctx, o, w)
	case sli.Histogram != "":
		return j.quantile(ctx, sli, o.Quantile, w)
	case sli.Value != "":
		// Books are compared when nothing moves any more, after the drain; n is what happened up to then.
		end := max(w.To, j.abs(j.Run.Duration))
		value, count := sli.ValueExpr(Window{From: w.From, To: end})
		v, err := j.number(ctx, value, end)
		if err != nil {
			return measurement{}, err
		}
		n, err := j.number(ctx, count, end)
		return measurement{v, v, v, n, value}, err
	default:
		return j.ratio(ctx, sli, w)
	}
}

// worst evaluates PromQL at each second of a window and takes the value that is furthest from what the objective asks.
func (j judge) worst(ctx context.Context, o Objective, w Window) (measurement, error) {
	m := measurement{expr: o.Expr, value: math.NaN()}
	at := func(s float64) time.Time { return time.UnixMilli(int64(math.Round(s * 1000))) }
	matrix, err := j.db.QueryRange(ctx, o.Expr, at(w.From), at(w.To), time.Second)
	if err != nil {
		return m, err
	}
	for _, series := range matrix {
		for _, p := range series.Floats {
			if math.IsNaN(p.F) {
				continue
			}
			m.n++
			lower := strings.HasPrefix(o.Op, ">")
			if math.IsNaN(m.value) || (p.F < m.value) == lower || o.Op == "==" && !o.Holds(p.F) {
				m.value = p.F
			}
		}
	}
	m.low, m.high = m.value, m.value
	return m, nil
}

func (j judge) ratio(ctx context.Context, sli SLI, w Window) (measurement, error) {
	goodExpr, totalExpr := sli.RatioExpr(w)
	good, err := j.number(ctx, goodExpr, w.To)
	if err != nil {
		return measurement{}, err
	}
	total, err := j.number(ctx, totalExpr, w.To)
	if err != nil {
		return measurement{}, err
	}
	m := measurement{expr: goodExpr + " / " + totalExpr, n: total, value: good / total}
	if total > 0 {
		// Events at a boundary can be counted on both of its sides, so that a share may stand a hair above 1.
		m.value = min(max(m.value, 0), 1)
		m.low, m.high = Wilson(good, total)
	}
	return m, nil
}

func (j judge) quantile(ctx context.Context, sli SLI, q float64, w Window) (measurement, error) {
	m := measurement{expr: sli.QuantileExpr(q, w)}
	var err error
	if m.n, err = j.number(ctx, sli.CountExpr(w), w.To); err != nil || !(m.n > 0) {
		m.n, m.value = 0, math.NaN()
		return m, err
	}
	low, high, openLow, openHigh := QuantileRanks(q, m.n)
	for _, part := range []struct {
		into *float64
		at   float64
	}{{&m.value, q}, {&m.low, low}, {&m.high, high}} {
		if *part.into, err = j.number(ctx, sli.QuantileExpr(part.at, w), w.To); err != nil {
			return m, err
		}
	}
	if openLow {
		m.low = 0
	}
	if openHigh {
		m.high = math.Inf(1)
	}
	return m, nil
}

// number evaluates PromQL that gives one number; no sample is NaN.
func (j judge) number(ctx context.Context, expr string, at float64) (float64, error) {
	if expr == "" {
		return math.NaN(), nil
	}
	v, err := j.db.Query(ctx, expr, time.UnixMilli(int64(math.Round(at*1000))))
	if err != nil {
		return math.NaN(), err
	}
	if len(v) == 0 {
		return math.NaN(), nil
	}
	if len(v) > 1 {
		return math.NaN(), fmt.Errorf("%s: gives %d series where one number is needed", expr, len(v))
	}
	return v[0].F, nil
}

// verdict puts everything together: what makes a run worthless comes before what it measured.
func (j judge) verdict(r Result) (Verdict, []string) {
	reasons := append([]string{}, j.Problems...)
	notRestored, notInjected, missed, unproven := false, false, false, false
	for _, f := range r.Faults {
		switch f.State {
		case "not-restored":
			notRestored = true
			reasons = append(reasons, fmt.Sprintf("%s on %s could not be proven restored: %s", f.Kind, f.On, f.Error))
		case "not-injected":
			notInjected = true
			reasons = append(reasons, fmt.Sprintf("%s on %s had no effect: %s", f.Kind, f.On, f.Error))
		}
	}
	for _, o := range r.Objectives {
		switch o.Verdict {
		case Met:
		case Missed:
			missed = true
			reasons = append(reasons, fmt.Sprintf("%s: %s, limit %s %s", o.Name, Quantity(o.Measured, o.Unit), o.Op, Quantity(&o.Threshold, o.Unit)))
		default:
			unproven = true
			reasons = append(reasons, fmt.Sprintf("%s: %s: %s", o.Name, o.Verdict, o.Why))
		}
	}
	for _, c := range r.Consistency {
		if !c.OK {
			unproven = true
			reasons = append(reasons, fmt.Sprintf("%s does not add up: %s", c.Check, c.Detail))
		}
	}
	switch {
	case notRestored:
		return Unrestored, reasons
	case j.Interrupted:
		return Interrupted, append(reasons, "interrupted before its end")
	case notInjected || len(j.Problems) > 0:
		return Inconclusive, reasons
	case missed:
		return RunMissed, reasons
	case unproven || len(r.Objectives) == 0:
		return Inconclusive, reasons
	default:
		return Passed, reasons
	}
}
