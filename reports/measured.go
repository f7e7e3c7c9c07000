package reports

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/livedrill/livedrill/reports/stats"
)

// objective measures one objective with its bounds.
func (j *judge) objective(ctx context.Context, o Objective) (Judged, error) {
	sli, _ := FindSLI(o.SLI)
	out := Judged{Name: o.Name, SLI: o.SLI, Phase: o.During, Op: o.Op, Threshold: o.Threshold, Unit: sli.Unit,
		Verdict: NotMeasured, Definition: sli.Definition, Expr: o.Expr}
	if o.Quantile > 0 {
		out.Quantile = &o.Quantile
	}
	if sli.Value != "" && !j.Finished {
		out.Why = "the run died before its books were settled"
		return out, nil
	}
	w, ok := j.window(o.During)
	if !ok {
		out.Why = fmt.Sprintf("the run did not come to %q", o.During)
		return out, nil
	}
	m, err := j.measure(ctx, o, sli, w)
	if err == nil && sli.Name != "" && sli.Value == "" {
		err = j.whole(ctx, sli, w)
	}
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
	if sli.Name != "" && sli.Value == "" {
		if err := j.widen(ctx, &m, o, sli, w); err != nil {
			return out, err
		}
	}
	out.N, out.Windows, out.Effect = m.n, m.windows, finite(m.effect)
	out.Measured = finite(m.value)
	if o.Expr == "" { // one number of PromQL has no bounds
		out.Low, out.High = finite(m.low), finite(m.high)
	}
	switch holds := o.Holds(m.value); {
	case holds && o.Holds(m.low) && o.Holds(m.high):
		out.Verdict = Met
	case !holds && !o.Holds(m.low) && !o.Holds(m.high):
		out.Verdict = Missed
	default:
		out.Verdict = NotProvable
		out.Why = fmt.Sprintf("the limit is within the 95%% bounds of %.0f events in %d windows", m.n, m.windows)
	}
	return out, nil
}

// whole returns an error when a process that counts an SLI was started again within a window: what it had counted is gone, and
// differences of the sums say nothing.
func (j *judge) whole(ctx context.Context, sli SLI, w Window) error {
	for _, selector := range []string{strings.TrimPrefix(sli.Good, "-"), sli.Total, sli.Histogram} {
		if selector == "" {
			continue
		}
		n, err := j.number(ctx, fmt.Sprintf("sum(resets(%s[%dms] @ %.3f))", selector, int64((w.To-w.From)*1000), w.To), w.To)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("a process that counts it was started again: its counters began anew %.0f times", n)
		}
	}
	return nil
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
	total               float64 // what a share is of: its events, or the time of n sessions
	windows             int
	effect              float64 // design effect
	expr                string
}

func (j *judge) measure(ctx context.Context, o Objective, sli SLI, w Window) (measurement, error) {
	switch {
	case o.Expr != "":
		return j.worst(ctx, o, w)
	case sli.Histogram != "" && !(o.Quantile > 0 && o.Quantile < 1):
		return measurement{}, fmt.Errorf("%s is a distribution, and the objective names no quantile", sli.Name)
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
		return measurement{value: v, low: v, high: v, n: n, effect: math.NaN(), expr: value}, err
	default:
		return j.ratio(ctx, sli, w)
	}
}

// worst evaluates PromQL at each second of a window and takes the value that is furthest from what the objective asks.
func (j *judge) worst(ctx context.Context, o Objective, w Window) (measurement, error) {
	m := measurement{expr: o.Expr, value: math.NaN(), effect: math.NaN()}
	matrix, err := j.db.QueryRange(ctx, o.Expr, clockOf(w.From), clockOf(w.To), time.Second)
	if err != nil {
		return m, err
	}
	for _, series := range matrix {
		for _, p := range series.Floats {
			if math.IsNaN(p.F) {
				continue
			}
			m.n++
			switch {
			case math.IsNaN(m.value):
				m.value = p.F
			case o.Op == "==": // the first value that is not it stays
				if o.Holds(m.value) {
					m.value = p.F
				}
			case (p.F < m.value) == strings.HasPrefix(o.Op, ">"):
				m.value = p.F
			}
		}
	}
	m.low, m.high = m.value, m.value
	return m, nil
}

func (j *judge) ratio(ctx context.Context, sli SLI, w Window) (measurement, error) {
	goodExpr, totalExpr := sli.RatioExpr(w)
	good, err := j.number(ctx, goodExpr, w.To)
	if err != nil {
		return measurement{}, err
	}
	total, err := j.number(ctx, totalExpr, w.To)
	if err != nil {
		return measurement{}, err
	}
	m := measurement{effect: math.NaN(), expr: goodExpr + " / " + totalExpr, n: total, total: total, value: good / total}
	if good < 0 || total < 0 || good > 1.02*total+2 { // counters that began anew
		m.value, m.n = math.NaN(), 0
	} else if total > 0 {
		// Events at a boundary can be counted on both of its sides, so that a share may stand a hair above 1.
		m.value = min(max(m.value, 0), 1)
		if sli.Begun != "" {
			if m.n, err = j.number(ctx, fmt.Sprintf("sum(%s @ %.3f) - (sum(%s @ %.3f) or vector(0))", sli.Begun, w.To, sli.Ended, w.From), w.To); err != nil || !(m.n > 0) {
				m.value, m.n = math.NaN(), 0
				return m, err
			}
		}
		m.low, m.high = stats.Wilson(m.value*m.n, m.n)
	}
	return m, nil
}

func (j *judge) quantile(ctx context.Context, sli SLI, q float64, w Window) (measurement, error) {
	m := measurement{expr: sli.QuantileExpr(q, w), effect: math.NaN()}
	var err error
	if m.n, err = j.number(ctx, sli.CountExpr(w), w.To); err != nil || !(m.n > 0) {
		m.n, m.value = 0, math.NaN()
		return m, err
	}
	low, high, openLow, openHigh := stats.QuantileRanks(q, m.n)
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
func (j *judge) number(ctx context.Context, expr string, at float64) (float64, error) {
	if expr == "" {
		return math.NaN(), nil
	}
	v, err := j.db.Query(ctx, expr, clockOf(at))
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
