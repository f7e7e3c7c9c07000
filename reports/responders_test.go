package reports_test

import (
	"strings"
	"testing"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/reportstest"
)

// TestResponders: people acknowledge at 45 s, name a wrong cause at 50 s and the right one at 60 s, of a fault that hurts from 42 s to 72 s.
func TestResponders(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Change = func(f *reports.Facts) {
		f.Targets = reports.Targets{RTO: 900, Availability: 0.999, Judgement: 3, Cause: 10, Handling: 60}
		f.Remarks = []reports.Remark{
			{At: 20, By: "ana", What: reports.SaidAcknowledge},
			{At: 21, By: "ana", What: reports.SaidCause, Fault: "network.loss", On: "edge-north"},
			{At: 45, By: "ana", What: reports.SaidAcknowledge},
			{At: 46, By: "bo", What: reports.SaidAcknowledge},
			{At: 50, By: "bo", What: reports.SaidCause, Fault: "network.delay", On: "edge-north"},
			{At: 60, By: "bo", What: reports.SaidCause, Fault: "network.loss", On: "edge-north"},
			{At: 62, By: "bo", What: reports.SaidAction, Text: "took the edge out"},
		}
	}
	s := judged(t, story)
	r := s.Responses[0]
	near(t, "T3", r.T[3], 45, 0)
	near(t, "T4", r.T[4], 60, 0)
	for i, want := range []reports.Stage{{Name: "judgement", Limit: 3}, {Name: "cause", Limit: 10, Late: true}, {Name: "handling", Limit: 60}} {
		got := r.Stages[i]
		near(t, want.Name, got.Took, []float64{3, 15, 30}[i], 1e-9)
		if got.Name != want.Name || got.Limit != want.Limit || got.Late != want.Late {
			t.Errorf("stage %+v, want %+v", got, want)
		}
	}
	if len(s.Remarks) != 7 || s.Remarks[1].Score != nil {
		t.Errorf("%d remarks; one made before anything was broken has the score %+v", len(s.Remarks), s.Remarks[1].Score)
	}
	for i, want := range map[int]reports.Score{4: {Of: "f1", Layer: true, Component: true}, 5: {Of: "f1", Layer: true, Component: true, Kind: true}} {
		if got := s.Remarks[i].Score; got == nil || *got != want {
			t.Errorf("cause %d has the score %+v, want %+v", i, got, want)
		}
	}
}

// TestAlertsAcknowledged: two alerts fire at 44 s and one before anything is broken; each is acknowledged by its name or with all that there
// is, but never before it fired. Of the fault, only what speaks of it counts.
func TestAlertsAcknowledged(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Change = func(f *reports.Facts) {
		f.Alerts.Files = map[string]string{"rules.yaml": `groups: [{name: g, rules: [
  {alert: Errors, for: 3s, labels: {severity: P0}, expr: 'sum(rate(livedrill_api_requests_total{outcome="error"}[5s])) > 1'},
  {alert: AlsoErrors, for: 3s, labels: {severity: P1}, expr: 'sum(rate(livedrill_api_requests_total{outcome="error"}[5s])) > 2'},
  {alert: Always, expr: 'vector(1)'}, {alert: Never, expr: 'vector(1) > 2'}]}]`}
		f.Remarks = []reports.Remark{
			{At: 30, By: "ana", What: reports.SaidAcknowledge, Alert: "Errors"}, // which has not fired yet
			{At: 43, By: "ana", What: reports.SaidAcknowledge, Alert: "Never"},  // which does not at all: neither is about the fault
			{At: 50, By: "ana", What: reports.SaidAcknowledge, Alert: "Errors"},
			{At: 55, By: "bo", What: reports.SaidAcknowledge},
			{At: 58, By: "bo", What: reports.SaidAcknowledge, Alert: "Errors"},
		}
	}
	s := judged(t, story)
	near(t, "T3", s.Responses[0].T[3], 50, 0)
	near(t, "fired after the first bad window", s.Alerts[0].AfterBad, *s.Alerts[0].Fired-42, 1e-9)
	var order []string
	for _, a := range s.Alerts {
		order = append(order, a.Name)
		switch want := map[string]float64{"Errors": 50, "AlsoErrors": 55, "Always": 55}[a.Name]; {
		case want == 0 && a.Acknowledged != nil:
			t.Errorf("%s did not fire and is acknowledged at %g s", a.Name, *a.Acknowledged)
		case want > 0:
			near(t, a.Name, a.Acknowledged, want, 0)
		}
	}
	if got := strings.Join(order, " "); got != "Errors AlsoErrors Always Never" {
		t.Errorf("the alerts stand as %s", got)
	}
}

// TestNobodyResponds: a stage that did not end is late once its limit has passed, and only then.
func TestNobodyResponds(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Change = func(f *reports.Facts) {
		f.Targets = reports.Targets{RTO: 900, Availability: 0.999, Judgement: 30, Cause: 100, Handling: 60}
		f.Remarks = []reports.Remark{{At: 50, By: "ana", What: reports.SaidAction, Text: "looked"}}
	}
	stages := judged(t, story).Responses[0].Stages
	if len(stages) != 2 || stages[0].Took != nil || !stages[0].Late || stages[1].Late {
		t.Errorf("nobody acknowledged within 30 s of the 78 s that were left, and service was whole after 30 s: %+v", stages)
	}
}
