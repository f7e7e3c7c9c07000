package reports_test

import (
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
