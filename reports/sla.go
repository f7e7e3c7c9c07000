package reports

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/livedrill/livedrill/reports/stats"
)

// SLA is what the run means for a promise: three availabilities, which are never one, and what the drill would have spent
// of an error budget.
type SLA struct {
	Basis         string        `json:"basis"` // what is counted
	InDrill       Share         `json:"in_drill"`
	FaultExcluded *Share        `json:"fault_excluded"` // steady and recovery alone
	Extrapolated  *Extrapolated `json:"extrapolated"`   // over incidents as often as the user says; null: nobody said
	Budgets       []Budget      `json:"budgets"`
	Targets       *TargetCheck  `json:"targets"`
	TimeScale     float64       `json:"time_scale"` // of the clock that every figure here stands on
}

// Share is a share with its bounds.
type Share struct {
	Value  float64  `json:"value"`
	Low    float64  `json:"low"`
	High   float64  `json:"high"`
	N      float64  `json:"n"`
	Effect *float64 `json:"design_effect"`
}

// Extrapolated is an availability over a month, from how often each fault happens and what it did in this drill.
type Extrapolated struct {
	Value *float64       `json:"value"` // null: the drill had no fault of one of the kinds
	Low   *float64       `json:"low"`
	High  *float64       `json:"high"`
	From  []IncidentCost `json:"from"`
}

// IncidentCost is what incidents of one kind cost in a month of 30 days. Unavailable is null when this drill had no such fault.
type IncidentCost struct {
	Incident
	Unavailable *float64 `json:"unavailable_ratio"`
	Lost        *float64 `json:"lost_s"`
}

// Budget is an error budget over 30 days, and what the drill would have spent of it.
type Budget struct {
	Objective float64 `json:"objective"`
	Seconds   float64 `json:"budget_s"`
	Spent     float64 `json:"spent_s"`
	Share     float64 `json:"spent_ratio"`
	// Drill and Usual say whether the run proves the objective, with the faults and without them: met, missed or not-provable.
	Drill  Verdict `json:"verdict_in_drill"`
	Usual  Verdict `json:"verdict_fault_excluded"`
	Trials float64 `json:"clean_trials_needed"` // events without any failure that would prove it
	Burns  []Burn  `json:"burns"`
}

// Burn is how fast one fault burns a budget: 1 would just use it up in 30 days.
type Burn struct {
	Fault     string  `json:"fault"`
	Rate      float64 `json:"rate"`
	Threshold float64 `json:"threshold"`
	Window    float64 `json:"window_s"`
	// Alarm is how long the fault would have to last, from a clean start, for the window's burn rate to reach the threshold;
	// null: it never would.
	Alarm *float64 `json:"alarm_after_s"`
}

// TargetCheck holds two promises against each other.
type TargetCheck struct {
	Targets
	OutageShare float64 `json:"outage_share"` // of the 30-day budget that one outage as long as the RTO takes
	Exclude     bool    `json:"exclude"`      // one such outage breaks the availability by itself
}

const month = 30 * 24 * 3600.0 // seconds

// burnAlarms are the usual burn rates and the windows that they are read over (SRE workbook, chapter 5).
var burnAlarms = []struct{ rate, window float64 }{{14.4, 3600}, {6, 6 * 3600}, {3, 24 * 3600}, {1, 72 * 3600}}

// sla fills in what the run means for a promise.
func (j *judge) sla(ctx context.Context, r *Result) error {
	sli, _ := FindSLI("availability_ratio")
	basis := "viewers' session-seconds without stalls ÷ session-seconds asked for; n is the sessions"
	whole, ok := j.window(WholeRun)
	if !ok {
		return nil
	}
	in, err := j.share(ctx, sli, whole)
	if err != nil {
		return err
	}
	if !(in.N > 0) { // nobody watched
		sli = SLI{Name: "api", Good: `-livedrill_api_requests_total{outcome="error"}`, Total: `livedrill_api_requests_total`}
		basis = "requests to the API without an error ÷ requests"
		if in, err = j.share(ctx, sli, whole); err != nil || !(in.N > 0) {
			return err
		}
	}
	out := &SLA{Basis: basis, InDrill: in, TimeScale: j.Run.TimeScale, Budgets: []Budget{}}
	if out.FaultExcluded, err = j.faultExcluded(ctx, sli); err != nil {
		return err
	}
	down := map[string]Share{} // by fault id: unavailable from the injection until it was restored and all was whole, or the next fault
	for _, f := range r.Faults {
		if f.Injected == nil || f.Restored == nil || f.State != "restored" {
			continue
		}
		end := *f.Restored
		for _, resp := range r.Responses {
			switch {
			case resp.Fault != f.ID:
			case resp.T[6] != nil:
				end = max(end, *resp.T[6])
			case len(resp.Hurt) > 0: // it never was whole again
				end = j.until(f)
			}
		}
		end = min(end, j.until(f))
		u, err := j.share(ctx, sli, Window{j.abs(*f.Injected), j.abs(end)})
		if err != nil {
			return err
		}
		down[f.ID] = Share{Value: 1 - u.Value, Low: 1 - u.High, High: 1 - u.Low, N: u.N}
	}
	out.Extrapolated = j.extrapolate(r.Faults, down)
	length := whole.To - whole.From
	for _, objective := range []float64{0.999, 0.9999} {
		b := Budget{Objective: objective, Seconds: (1 - objective) * month, Spent: (1 - in.Value) * length, Burns: []Burn{}}
		b.Share = b.Spent / b.Seconds
		b.Trials = stats.CleanTrials(1 - objective)
		b.Drill, b.Usual = proves(in, objective), NotMeasured
		if out.FaultExcluded != nil {
			b.Usual = proves(*out.FaultExcluded, objective)
		}
		for _, f := range r.Faults {
			u, ok := down[f.ID]
			for _, alarm := range burnAlarms {
				if !ok || !(u.N > 0) {
					continue
				}
				burn := Burn{Fault: f.ID, Rate: u.Value / (1 - objective), Threshold: alarm.rate, Window: alarm.window}
				if after := alarm.window * alarm.rate * (1 - objective) / u.Value; after <= alarm.window {
					burn.Alarm = &after
				}
				b.Burns = append(b.Burns, burn)
			}
		}
		out.Budgets = append(out.Budgets, b)
	}
	if t := j.Targets; t.RTO > 0 && t.Availability > 0 && t.Availability < 1 {
		share := t.RTO / ((1 - t.Availability) * month)
		out.Targets = &TargetCheck{Targets: t, OutageShare: share, Exclude: share > 1}
	}
	r.SLA = out
	return nil
}

// proves tells whether an availability is proven to hold an objective, or not to.
func proves(s Share, objective float64) Verdict {
	switch {
	case s.Low >= objective:
		return Met
	case s.High < objective:
		return Missed
	}
	return NotProvable
}

// share measures a ratio with the wider of its bounds.
func (j *judge) share(ctx context.Context, sli SLI, w Window) (Share, error) {
	m, err := j.ratio(ctx, sli, w)
	if err == nil && m.n > 0 {
		err = j.widen(ctx, &m, Objective{Name: sli.Name}, sli, w)
	}
	return Share{Value: m.value, Low: m.low, High: m.high, N: m.n, Effect: finite(m.effect)}, err
}

// faultExcluded adds up the phases in which nothing was broken.
func (j *judge) faultExcluded(ctx context.Context, sli SLI) (*Share, error) {
	good, total, n := 0.0, 0.0, 0.0
	var windows []stats.Window
	for _, p := range j.Phases {
		if p.Name != "steady" && p.Name != "recovery" || p.To <= p.From {
			continue
		}
		w := Window{j.abs(p.From), j.abs(p.To)}
		m, err := j.ratio(ctx, sli, w)
		if err != nil {
			return nil, err
		}
		own, err := j.windowsOf(ctx, sli, w)
		if err != nil {
			return nil, err
		}
		windows = append(windows, own...)
		if m.n > 0 {
			good, total, n = good+m.value*m.total, total+m.total, n+m.n
		}
	}
	if total == 0 {
		return nil, nil
	}
	s := Share{Value: good / total, N: n}
	s.Low, s.High = stats.Wilson(s.Value*n, n)
	if b := stats.Ratio(windows, rand.New(rand.NewPCG(j.Run.Seed, 4))); !math.IsNaN(b.Low) {
		s.Low, s.High, s.Effect = min(s.Low, b.Low), max(s.High, b.High), finite(b.DesignEffect*n/total)
	}
	return &s, nil
}

// extrapolate weighs what the faults of each kind did in the drill by how often they happen. One incident that the drill says
// nothing about leaves the whole unknown.
func (j *judge) extrapolate(faults []Fault, down map[string]Share) *Extrapolated {
	if len(j.Incidents) == 0 {
		return nil
	}
	out := &Extrapolated{}
	value, low, high, known := 1.0, 1.0, 1.0, true
	for _, i := range j.Incidents {
		cost := IncidentCost{Incident: i}
		var pooled Share
		for _, f := range faults {
			if u, ok := down[f.ID]; ok && f.Kind == i.Fault && u.N > 0 { // faults of one kind count by their events
				n := pooled.N + u.N
				pooled = Share{Value: (pooled.Value*pooled.N + u.Value*u.N) / n, Low: (pooled.Low*pooled.N + u.Low*u.N) / n,
					High: (pooled.High*pooled.N + u.High*u.N) / n, N: n}
			}
		}
		if pooled.N > 0 {
			seconds := i.PerMonth * i.Lasts
			lost := seconds * pooled.Value
			cost.Unavailable, cost.Lost = &pooled.Value, &lost
			value, low, high = value-lost/month, low-seconds*pooled.High/month, high-seconds*pooled.Low/month
		}
		known = known && pooled.N > 0
		out.From = append(out.From, cost)
	}
	if known {
		value, low, high = max(value, 0), max(low, 0), min(high, 1)
		out.Value, out.Low, out.High = &value, &low, &high
	}
	return out
}
