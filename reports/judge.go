package reports

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/stats"
)

// judge is one judging of one run.
type judge struct {
	Facts
	dir   string
	db    *record.Database
	known map[string]*series // what was read already
}

// Sheet is a judged run: its result, and the curves that its report draws.
type Sheet struct {
	Result
	Charts   []Chart
	Heats    []Heat
	Notes    []string // stated lesser modes
	Problems []string // what went wrong in the run itself
	Topology []Node
	Targets  Targets
	Damaged  bool       // the record is not whole, or not as the run left it
	Evidence []Evidence // the files of the run with their sums
	TimeNote string     // said beside every figure of a run on a scaled clock
}

// Judge computes the result of the run in dir from its facts and its time series. It writes nothing. An error means that
// nothing can be said; whatever can be is said, and what cannot is marked in the result.
func Judge(ctx context.Context, dir string) (Sheet, error) {
	facts, err := ReadFacts(dir)
	if err != nil {
		return Sheet{}, err
	}
	if text, err := os.ReadFile(filepath.Join(dir, "scenario.yaml")); err == nil {
		sum := sha256.Sum256(text)
		facts.Run.ScenarioSHA256 = hex.EncodeToString(sum[:])
	}
	evidence, broken, err := checkManifest(dir)
	if err != nil {
		return Sheet{}, err
	}
	facts.Problems = append(facts.Problems, broken...)
	if !facts.Finished {
		facts.Problems = append(facts.Problems, "the run died before its end: only what it had written by then is judged")
		facts.Run.Duration = lastKnown(facts)
	}
	db, err := record.ReadDatabase(filepath.Join(dir, "tsdb"))
	if err != nil {
		return Sheet{}, err
	}
	j := &judge{Facts: facts, dir: dir, db: db, known: map[string]*series{}}
	s, err := j.sheet(ctx)
	s.Evidence, s.Damaged = evidence, len(broken) > 0 || !facts.Finished
	return s, errors.Join(err, db.Close())
}

func (j *judge) sheet(ctx context.Context) (s Sheet, err error) {
	s = Sheet{Notes: j.Notes, Problems: j.Problems, Topology: j.Topology, Targets: j.Targets}
	if scale := j.Run.TimeScale; scale != 1 && scale != 0 {
		s.TimeNote = fmt.Sprintf("time scale %g: durations of phases and faults are not those of the scenario", scale)
	}
	if s.Result, err = j.result(ctx); err != nil || len(j.Phases) == 0 {
		return s, err
	}
	if s.Charts, err = j.charts(ctx); err != nil {
		return s, err
	}
	s.Heats, err = j.heats(ctx)
	return s, err
}

// lastKnown is the end of the last phase that a dead run wrote down.
func lastKnown(f Facts) float64 {
	end := 0.0
	for _, p := range f.Phases {
		end = max(end, p.To)
	}
	return end
}

func (j *judge) result(ctx context.Context) (Result, error) {
	r := Result{Schema: Schema, Run: j.Run, Phases: j.Phases, Faults: j.Faults, Reasons: []string{}, Impact: []Impact{},
		Alerts: []Alert{}, Consistency: []Check{}, Objectives: []Judged{}, Loads: []Load{}, Responses: []Response{}, Table: []Cell{}, Core: []Core{},
		Forecasts: []Forecast{}, Logs: []Anomaly{}, NotMeasured: []Unknown{}, Actions: []Action{}}
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
	for _, part := range []func(context.Context, *Result) error{j.responses, j.alerts, j.spans, j.sla, j.table, j.core, j.forecasts, j.logs, j.arms} {
		if err := part(ctx, &r); err != nil {
			return r, err
		}
	}
	r.Verdict, r.Reasons = j.verdict(r)
	r.NotMeasured = j.notMeasured(r)
	r.Actions = actions(r)
	return r, nil
}

// objective measures one objective with its bounds.
func (j *judge) objective(ctx context.Context, o Objective) (Judged, error) {
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
	if sli.Name != "" && sli.Value == "" {
		if err := j.widen(ctx, &m, o, sli, w); err != nil {
			return out, err
		}
	}
	out.N, out.Windows, out.Effect = m.n, m.windows, finite(m.effect)
	out.Measured = finite(m.value)
	out.Low, out.High = finite(m.low), finite(m.high)
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

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// measurement is a value with its 95 % bounds and the events behind it.
type measurement struct {
	value, low, high, n float64
	windows             int
	effect              float64 // design effect
	expr                string
}

func (j *judge) measure(ctx context.Context, o Objective, sli SLI, w Window) (measurement, error) {
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
			lower := strings.HasPrefix(o.Op, ">")
			if math.IsNaN(m.value) || (p.F < m.value) == lower || o.Op == "==" && !o.Holds(p.F) {
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
	m := measurement{effect: math.NaN(), expr: goodExpr + " / " + totalExpr, n: total, value: good / total}
	if total > 0 {
		// Events at a boundary can be counted on both of its sides, so that a share may stand a hair above 1.
		m.value = min(max(m.value, 0), 1)
		m.low, m.high = stats.Wilson(good, total)
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

// verdict puts everything together: what makes a run worthless comes before what it measured.
func (j *judge) verdict(r Result) (Verdict, []string) {
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
	for _, a := range r.Alerts {
		switch a.State {
		case AlertMissed, AlertFalse:
			missed = true
			reasons = append(reasons, fmt.Sprintf("alert %s: %s: %s", a.Name, a.State, a.Why))
		case AlertOpen:
			if a.Expected {
				unproven = true
				reasons = append(reasons, fmt.Sprintf("alert %s: %s: %s", a.Name, a.State, a.Why))
			}
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
