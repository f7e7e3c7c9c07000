package reports

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// Remark is what a responder said or did while the run went on.
type Remark struct {
	At      float64  `json:"at_s"`
	By      string   `json:"by"`                // a person, or Runbook
	What    string   `json:"what"`              // acknowledge, cause, action, defend or program
	Fault   string   `json:"fault,omitempty"`   // kind of fault that is named as the cause
	On      string   `json:"on,omitempty"`      // component that it is said to be on
	Alert   string   `json:"alert,omitempty"`   // that is acknowledged; empty: whatever there is
	Defence string   `json:"defence,omitempty"` // that was turned on
	Program string   `json:"program,omitempty"` // of the user's own, that the runbook ran
	Done    *float64 `json:"done_s,omitempty"`  // when that was done; null: it failed
	Text    string   `json:"text,omitempty"`
	Score   *Score   `json:"score,omitempty"` // of a cause; null: nothing was broken then
}

// Runbook is who makes a remark when nobody had to.
const Runbook = "runbook"

// What a remark is.
const (
	SaidAcknowledge = "acknowledge"
	SaidCause       = "cause"
	SaidAction      = "action"
	SaidDefend      = "defend"
	SaidProgram     = "program"
)

// Score holds a named cause against the fault that it comes closest to, of those that were there.
type Score struct {
	Of        string `json:"of"`        // the fault
	Layer     bool   `json:"layer"`     // its family is right
	Component bool   `json:"component"` // the component is right
	Kind      bool   `json:"kind"`      // the kind of fault is right
}

func (s Score) right() bool { return s.Component && s.Kind }

func (s Score) points() (n int) {
	for _, right := range []bool{s.Layer, s.Component, s.Kind} {
		if right {
			n++
		}
	}
	return n
}

// Stage is one part of the work on an incident, and the time that it may take. Took is null when it did not end in this run.
type Stage struct {
	Name  string   `json:"name"` // judgement T1 to T3, cause T3 to T4, handling T1 to T6
	Took  *float64 `json:"took_s"`
	Limit float64  `json:"limit_s"`
	Late  bool     `json:"late"` // it took longer, or had not ended when it should have
}

// responders gives what people said to the faults that it was about.
func (j *judge) responders(_ context.Context, r *Result) error {
	if len(j.Remarks) == 0 {
		return nil
	}
	for _, m := range slices.SortedStableFunc(slices.Values(j.Remarks), func(a, b Remark) int { return cmp.Compare(a.At, b.At) }) {
		for i := range r.Responses {
			out := &r.Responses[i]
			f := faultByID(r.Faults, out.Fault)
			if m.At < *f.Injected || m.At > j.until(f) && (f.Clean == nil || m.At > *f.Clean) {
				continue
			}
			switch m.What {
			case SaidAcknowledge:
				if out.T[3] == nil && r.concerns(m, f) {
					out.T[3] = &m.At
				}
			case SaidProgram:
				if whole := out.T[6]; m.Done != nil && whole != nil && *whole >= m.At && (out.T[5] == nil || *m.Done < *out.T[5]) {
					out.T[5], out.Mitigation = m.Done, m.Program
				}
			case SaidCause:
				score := scored(m, f)
				if m.Score == nil || score.points() > m.Score.points() {
					m.Score = &score
				}
				if score.right() && out.T[4] == nil {
					out.T[4] = &m.At
				}
			}
		}
		r.acknowledge(m)
		r.Remarks = append(r.Remarks, m)
	}
	for i := range r.Responses {
		out := &r.Responses[i]
		for _, s := range []struct {
			name     string
			from, to int
			limit    float64
		}{{"judgement", 1, 3, j.Targets.Judgement}, {"cause", 3, 4, j.Targets.Cause}, {"handling", 1, 6, j.Targets.Handling}} {
			if out.T[s.from] == nil {
				continue
			}
			stage := Stage{Name: s.name, Took: between(out.T[s.from], out.T[s.to]), Limit: s.limit}
			lasted := j.Run.Duration - *out.T[s.from]
			if stage.Took != nil {
				lasted = *stage.Took
			}
			stage.Late = s.limit > 0 && lasted > s.limit
			out.Stages = append(out.Stages, stage)
		}
	}
	return nil
}

// acknowledge takes down when somebody was on an alert: the first to say so after it had fired, of this alert or of whatever there was.
func (r *Result) acknowledge(m Remark) {
	for i := range r.Alerts {
		a := &r.Alerts[i]
		if m.What == SaidAcknowledge && (m.Alert == "" || m.Alert == a.Name) && a.Fired != nil && m.At >= *a.Fired && a.Acknowledged == nil {
			a.Acknowledged = &m.At
		}
	}
}

// concerns tells whether an acknowledgement speaks of a fault: one of whatever there is does, one of an alert only once that has fired, and of
// the fault that it is laid to. One that is laid to none may speak of any.
func (r *Result) concerns(m Remark, f Fault) bool {
	for _, a := range r.Alerts {
		if m.Alert == a.Name {
			return a.Fired != nil && m.At >= *a.Fired && (a.Fault == "" || a.Fault == f.ID)
		}
	}
	return true
}

// scored holds a named cause against one fault.
func scored(m Remark, f Fault) Score {
	named, _, _ := strings.Cut(m.Fault, ".")
	layer, _, _ := strings.Cut(f.Kind, ".")
	return Score{Of: f.ID, Layer: named == layer, Component: m.On == f.On, Kind: m.Fault == f.Kind}
}
