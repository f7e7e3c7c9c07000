package reports

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/reports/alerts"
)

// What an alert came to.
const (
	AlertOK     = "as-expected"  // it fired and had to
	AlertSilent = "silent"       // it did not fire, and had not to
	AlertMissed = "missed"       // it had to fire
	AlertFalse  = "false-alarm"  // it fired, and had to stay silent
	AlertFired  = "fired"        // it fired; nobody had said whether it should
	AlertOpen   = "not-provable" // the run is too short for its "for"
)

// alerts runs the user's rule files over the run, from the first phase on.
func (j *judge) alerts(ctx context.Context, r *Result) error {
	for _, name := range j.Alerts.Expect {
		if !slices.Contains(alerts.Names(j.Alerts.Files), name) {
			r.Alerts = append(r.Alerts, Alert{Name: name, Expected: true, Firings: []Firing{}, State: AlertOpen, Why: "no rule gives this alert"})
		}
	}
	if len(j.Alerts.Files) == 0 {
		return nil
	}
	from, to := j.Phases[0].From, j.Run.Duration
	found, err := alerts.Evaluate(ctx, j.db, j.Alerts.Files, clockOf(j.abs(from)).Truncate(time.Second), clockOf(j.abs(to)))
	if err != nil {
		return err
	}
	seconds := func(t time.Time) *float64 {
		if t.IsZero() {
			return nil
		}
		s := float64(t.UnixMilli())/1000 - j.abs(0)
		return &s
	}
	judged := j.judgedFrom()
	if len(j.Phases) == 1 {
		judged = from
	}
	recorded, err := j.last(ctx, "count(livedrill_load_offered_total)")
	if err != nil {
		return err
	}
	fired := map[string]bool{} // by name: several rules may give one alert
	for _, rule := range found {
		a := Alert{Name: rule.Name, Severity: rule.Severity, Expr: rule.Expr, Firings: []Firing{},
			Expected: slices.Contains(j.Alerts.Expect, rule.Name), Silent: slices.Contains(j.Alerts.Silent, rule.Name)}
		for _, f := range rule.Firings {
			if to := seconds(f.To); to == nil || *to > judged {
				a.Firings = append(a.Firings, Firing{From: *seconds(f.From), To: to, Labels: f.Labels})
			}
		}
		j.blame(r, &a)
		if a.State, a.Why = j.alertState(r, a, rule); recorded == 0 {
			a.State, a.Why = AlertOpen, "nothing was recorded at the end of the run"
		}
		fired[a.Name] = fired[a.Name] || a.State == AlertOK
		r.Alerts = append(r.Alerts, a)
	}
	for i, a := range r.Alerts {
		if fired[a.Name] && (a.State == AlertMissed || a.State == AlertOpen) {
			r.Alerts[i].State, r.Alerts[i].Why = AlertSilent, "another rule of this name fired"
		}
	}
	slices.SortStableFunc(r.Alerts, func(a, b Alert) int { return strings.Compare(orLast(a.Severity), orLast(b.Severity)) })
	for i := range r.Responses {
		resp := &r.Responses[i]
		for _, a := range r.Alerts {
			for _, f := range a.Firings {
				if f.From >= *resp.T[0] && f.From <= j.until(faultByID(r.Faults, resp.Fault)) && (resp.T[2] == nil || f.From < *resp.T[2]) {
					resp.T[2] = &f.From
				}
			}
		}
	}
	return nil
}

// alertState says what one rule came to.
func (j *judge) alertState(r *Result, a Alert, rule alerts.Rule) (state, why string) {
	room := j.Run.Duration - j.Phases[0].From // that it had for its "for"
	for _, f := range r.Faults {
		if f.Injected != nil {
			room = j.Run.Duration - *f.Injected
			break
		}
	}
	switch {
	case a.Fired != nil && a.Silent:
		return AlertFalse, fmt.Sprintf("it had to stay silent and fired after %.1f s", *a.Fired)
	case a.Fired != nil && a.Expected && a.Fault == "" && len(r.Faults) > 0:
		return AlertMissed, a.Why
	case a.Fired != nil && a.Expected:
		return AlertOK, a.Why
	case a.Fired != nil:
		return AlertFired, a.Why
	case rule.Err != nil:
		return AlertOpen, rule.Err.Error()
	case a.Expected && rule.For.Seconds() > room:
		return AlertOpen, fmt.Sprintf("it needs %s, and the run had %.0f s", rule.For, room)
	case a.Expected && rule.Waiting:
		return AlertOpen, fmt.Sprintf("it was still pending when the run ended: it needs %s", rule.For)
	case a.Expected && rule.Pending > 0:
		return AlertMissed, fmt.Sprintf("it was pending for %s of the %s that it needs", rule.Pending, rule.For)
	case a.Expected:
		return AlertMissed, "its expression never held"
	}
	return AlertSilent, ""
}

// orLast puts alerts without a severity behind those from P0 to P3.
func orLast(severity string) string {
	if severity == "" {
		return "~"
	}
	return severity
}

// blame finds the firing that counts, and the fault that it followed: the first one after an injection, else the first.
func (j *judge) blame(r *Result, a *Alert) {
	for i, firing := range a.Firings {
		for _, f := range r.Faults {
			if a.Fault != "" || f.Injected == nil || *f.Injected > firing.From || firing.From > j.until(f) {
				continue
			}
			after := firing.From - *f.Injected
			a.Fired, a.Fault, a.AfterT0 = &a.Firings[i].From, f.ID, &after
			for _, im := range r.Impact {
				if im.Fault == f.ID && (a.AfterBad == nil || after-*im.Detected > *a.AfterBad) {
					bad := after - *im.Detected
					a.AfterBad = &bad
				}
			}
		}
	}
	if len(a.Firings) == 0 {
		return
	}
	if a.Fired == nil {
		a.Fired = &a.Firings[0].From
	}
	if first := a.Firings[0].From; first < *a.Fired || a.Fault == "" && len(r.Faults) > 0 {
		a.Why = fmt.Sprintf("it fired at %.1f s, before anything was broken", first)
	}
}

func faultByID(faults []Fault, id string) Fault {
	for _, f := range faults {
		if f.ID == id {
			return f
		}
	}
	return Fault{ID: id}
}
