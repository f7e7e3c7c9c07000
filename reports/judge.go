package reports

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/livedrill/livedrill/reports/record"
)

// judge is one judging of one run.
type judge struct {
	Facts
	dir   string
	db    *record.Database
	known map[string]*series // what was read already

	looked map[string]int // by fault: windows in which an objective looked at it
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
	for _, name := range []string{ManifestFile, "scenario.yaml", record.AuditFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.Mode().IsRegular() {
			return Sheet{}, fmt.Errorf("%s is no ordinary file", filepath.Join(dir, name))
		}
	}
	if text, err := ReadFile(filepath.Join(dir, "scenario.yaml")); err == nil {
		sum := sha256.Sum256(text)
		facts.Run.ScenarioSHA256 = hex.EncodeToString(sum[:])
	}
	sealed, err := checkManifest(dir)
	if err != nil {
		return Sheet{}, err
	}
	facts.Notes = append(facts.Notes, sealed.notes...)
	if sealed.have == nil && facts.Finished {
		sealed.problems = append(sealed.problems, "there is no manifest: whether the record is whole, or was changed after the run, cannot be told")
	}
	facts.Problems = append(facts.Problems, sealed.problems...)
	if err := record.CheckAudit(filepath.Join(dir, record.AuditFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		facts.Problems = append(facts.Problems, fmt.Sprintf("audit log: %v", err))
	}
	if !facts.Finished {
		facts.Problems = append(facts.Problems, "the run died before its end: only what it had written by then is judged")
		facts.Run.Duration = lastKnown(facts)
	}
	db, err := record.ReadDatabase(filepath.Join(dir, "tsdb"), sealed.foreign...)
	if err != nil {
		return Sheet{}, err
	}
	j := &judge{Facts: facts, dir: dir, db: db, known: map[string]*series{}, looked: map[string]int{}}
	s, err := j.sheet(ctx)
	s.Evidence, s.Damaged = sealed.have, len(sealed.problems) > 0 || !facts.Finished
	return s, errors.Join(err, db.Close())
}

func (j *judge) sheet(ctx context.Context) (s Sheet, err error) {
	s = Sheet{Problems: j.Problems, Topology: j.Topology, Targets: j.Targets}
	if scale := j.Run.TimeScale; scale != 1 && scale != 0 {
		s.TimeNote = fmt.Sprintf("time scale %g: durations of phases and faults are not those of the scenario", scale)
	}
	s.Result, err = j.result(ctx)
	if s.Notes = j.Notes; err != nil || len(j.Phases) == 0 {
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
		Forecasts: []Forecast{}, Logs: []Anomaly{}, Traces: []Trace{}, Remarks: []Remark{}, Models: []Model{}, Paths: append([]Path{}, j.Paths...), NotMeasured: []Unknown{}, Actions: []Action{}}
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
	for _, part := range []func(context.Context, *Result) error{j.responses, j.alerts, j.responders, j.spans, j.sla, j.table, j.core, j.health, j.forecasts, j.logs, j.traces, j.models, j.arms} {
		if err := part(ctx, &r); err != nil {
			return r, err
		}
	}
	r.Verdict, r.Reasons = j.verdict(r)
	r.NotMeasured = j.notMeasured(r)
	r.Actions = actions(r)
	return r, nil
}

// healed tells whether somebody did something against a fault while it was there: that it is gone before its end may be their merit.
func healed(r Result, f Fault) bool {
	return slices.ContainsFunc(r.Remarks, func(m Remark) bool {
		at := m.At
		if m.Done != nil {
			at = *m.Done
		}
		return (m.What == SaidAction || m.Done != nil) && f.Injected != nil && f.Restored != nil && at >= *f.Injected && at <= *f.Restored
	})
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
			reasons = append(reasons, fmt.Sprintf("%s on %s was not seen to take effect: %s", f.Kind, f.On, f.Error))
		case "restored":
			if f.Faded != "" {
				unproven = unproven || !healed(r, f)
				reasons = append(reasons, fmt.Sprintf("%s on %s was not in effect any more at its end: %s", f.Kind, f.On, f.Faded))
			}
			if f.Injected == nil || f.Clean == nil {
				notInjected = true
				reasons = append(reasons, fmt.Sprintf("%s on %s was not seen to take effect: %s", f.Kind, f.On, "the record has no times of it"))
			}
		default:
			notInjected = true
			reasons = append(reasons, fmt.Sprintf("%s on %s was not seen to take effect: %s", f.Kind, f.On, "its state is not known"))
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
			unproven = unproven || a.Expected || a.Silent
			reasons = append(reasons, fmt.Sprintf("alert %s: %s: %s", a.Name, a.State, a.Why))
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
	case j.Aborted != "": // what was missed for certain needs no whole run
		return RunMissed, append([]string{"ended before its time: " + j.Aborted}, reasons...)
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
