package reports

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports/stats"
)

// Action is something to do after a run, and what a later run must show for it to be done.
type Action struct {
	ID        string `json:"id"` // the same for the same finding in every run
	Finding   string `json:"finding"`
	Do        string `json:"do"`
	Proof     string `json:"proof"`
	Objective string `json:"objective"`
	Fault     string `json:"fault,omitempty"` // kind
}

// Unknown is something that a reader may look for and that this run cannot say.
type Unknown struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// remedies are the defences that are about each family of faults, or about one kind.
var remedies = map[string][]string{
	"network": {"edge-dispatch", "edge-peer-failover", "edge-serve-stale"},
	"gpu":     {"shed-renditions"},
	"redis":   {"redis-fallback", "dependency-deadlines"},
	"mysql":   {"dependency-deadlines", "bounded-requests"},
	"process": {"edge-dispatch", "edge-peer-failover"},
	"queue":   {"bounded-queue"},
	"tls":     {"edge-dispatch"},

	"mysql.replication-lag": {"fresh-reads"},
}

// actions turns what went wrong into what to do next.
func actions(r Result) []Action {
	out := []Action{}
	add := func(about string, a Action) {
		sum := sha256.Sum256([]byte(r.Run.Scenario + "\x00" + a.Objective + "\x00" + a.Fault + "\x00" + about))
		a.ID = hex.EncodeToString(sum[:4])
		if !slices.ContainsFunc(out, func(b Action) bool { return b.ID == a.ID }) {
			out = append(out, a)
		}
	}
	for _, f := range r.Faults {
		switch f.State {
		case "not-restored":
			add(f.On+f.State, Action{Finding: fmt.Sprintf("%s on %s was not proven restored", f.Kind, f.On), Fault: f.Kind,
				Do: mend(f), Proof: "the fault is restored"})
		case "restored":
			if f.Faded != "" {
				add(f.On+"faded", Action{Finding: fmt.Sprintf("%s on %s was gone before its end", f.Kind, f.On), Fault: f.Kind,
					Do:    "See in the events what happened to the component meanwhile: a part of the fault's time was measured without it.",
					Proof: "the fault is in effect at its end"})
			}
		case "not-injected":
			add(f.On+f.State, Action{Finding: fmt.Sprintf("%s on %s was not seen to take effect", f.Kind, f.On), Fault: f.Kind,
				Do: "Ask livedrill doctor for this fault's back end, or ask for more of it.", Proof: "the fault is proven in effect"})
		}
	}
	for _, o := range r.Objectives {
		switch o.Verdict {
		case Missed:
			fault := faultOf(r, o)
			add("", Action{Finding: fmt.Sprintf("%s: %s where the limit is %s %s", o.Name, Quantity(o.Measured, o.Unit), o.Op,
				Quantity(&o.Threshold, o.Unit)), Fault: fault, Objective: o.Name, Do: advice(r, fault),
				Proof: fmt.Sprintf("%s is met in a later run of %s", o.Name, r.Run.Scenario)})
		case NotProvable:
			add("", Action{Finding: fmt.Sprintf("%s could not be decided from %s events", o.Name, Count(o.N)), Objective: o.Name,
				Do: more(o), Proof: fmt.Sprintf("%s is met in a later run of %s", o.Name, r.Run.Scenario)})
		}
	}
	for _, a := range r.Alerts {
		if a.State == AlertMissed || a.State == AlertFalse {
			add("", Action{Finding: fmt.Sprintf("alert %s: %s", a.Name, a.State), Objective: "alert " + a.Name, Do: "Change the rule's expression or its \"for\" and run again: " + a.Why,
				Proof: fmt.Sprintf("the alert %s does as expected in a later run", a.Name)})
		}
	}
	return out
}

// mend is what to do about a fault that was not proven restored.
func mend(f Fault) string {
	if f.Mend == "" {
		return "Its range is gone, and what it changed with it: look at the component before anything else."
	}
	return "Put it back by hand: " + f.Mend
}

// faultOf is the kind of fault that an objective was missed under.
func faultOf(r Result, o Judged) string {
	for _, f := range r.Faults {
		if f.Kind == o.Phase || f.ID == o.Phase {
			return f.Kind
		}
	}
	for _, i := range r.Impact {
		for _, f := range r.Faults {
			if i.Objective == o.Name && i.Fault == f.ID {
				return f.Kind
			}
		}
	}
	return ""
}

func advice(r Result, fault string) string {
	about, known := remedies[fault]
	if !known {
		family, _, _ := strings.Cut(fault, ".")
		about = remedies[family]
	}
	var off []string
	for _, d := range about {
		if !slices.Contains(r.Run.Defences, d) {
			off = append(off, d)
		}
	}
	switch {
	case len(off) > 0:
		return fmt.Sprintf("Turn on %s and run again; livedrill target config shows what it changes.", strings.Join(off, ", "))
	case fault != "":
		return "Every defence against this fault is on: raise capacity, or lower what is promised under it."
	default:
		return "No fault explains it: look at the steady phase, at the load's own lateness and at the processor."
	}
}

// more says how many events an objective would need.
func more(o Judged) string {
	gap, clean := o.Threshold, 0.0
	if strings.HasPrefix(o.Op, ">") {
		gap, clean = 1-o.Threshold, 1
	}
	if o.Unit == "ratio" && gap > 0 && gap < 1 && (o.Measured == nil || *o.Measured == clean) {
		return fmt.Sprintf("Run longer or with more load: without any failure it takes %s events.", Count(stats.CleanTrials(gap)))
	}
	if o.Measured != nil && o.Low != nil && o.High != nil && *o.Measured != o.Threshold {
		half := max(*o.High-*o.Measured, *o.Measured-*o.Low)
		need := o.N * math.Pow(half/math.Abs(*o.Measured-o.Threshold), 2)
		return fmt.Sprintf("Run longer or with more load: about %s events would do.", Count(math.Ceil(need)))
	}
	return "Run longer or with more load."
}

// notMeasured lists what this run cannot say.
func (j *judge) notMeasured(r Result) []Unknown {
	out := []Unknown{}
	for _, o := range r.Objectives {
		if o.Verdict == NotMeasured {
			out = append(out, Unknown{o.Name, o.Why})
		}
	}
	if len(r.Faults) > 0 && !slices.ContainsFunc(r.Remarks, func(m Remark) bool { return m.By != Runbook }) {
		out = append(out, Unknown{"T3 acknowledged, T4 cause named", "nobody took part in this drill (livedrill respond)"})
	}
	if len(r.Alerts) == 0 {
		out = append(out, Unknown{"T2 alert", "the scenario brings no alerting rules"})
	}
	if len(j.Incidents) == 0 {
		out = append(out, Unknown{"availability over a month", "the scenario does not say how often each fault happens (incidents)"})
	}
	for _, c := range r.Core {
		switch {
		case c.N == 0:
			out = append(out, Unknown{c.Name, "no process of this run offers it"})
		case c.Gaps > 0:
			out = append(out, Unknown{c.Name, fmt.Sprintf("%.0f s without a reading", c.Gaps)})
		}
	}
	for _, c := range r.Core {
		if c.Limit != nil && c.N > 0 && c.N < stats.ForecastWindow {
			out = append(out, Unknown{"limits that come closer", fmt.Sprintf("a forecast needs %d readings of a metric, and this run has %d", stats.ForecastWindow, c.N)})
			break
		}
	}
	for _, resp := range r.Responses {
		switch {
		case resp.RPORows == nil:
			out = append(out, Unknown{"RPO of " + resp.Fault, "gifts that were not acknowledged may be in the ledger and hide others"})
		case *resp.RPORows > 0:
			out = append(out, Unknown{"RPO of " + resp.Fault + " in seconds", "the least that it can be is shown: which writes were lost is not recorded"})
		}
		if resp.RTO == nil && len(resp.Hurt) == 0 {
			out = append(out, Unknown{"RTO of " + resp.Fault, "no objective could see this fault for long enough"})
		}
	}
	for _, f := range r.Faults {
		if f.BackEnd == "emulated" {
			out = append(out, Unknown{f.Kind + " on a real card", "the fault was emulated: it " + emulations[f.Kind]})
		}
	}
	return append(out, Unknown{"the user's own platform", "the drill ran on the bundled one"})
}

// emulations say what is done instead, where no card encodes.
var emulations = map[string]string{
	"gpu.throttle":      "took processor time from the encoders",
	"gpu.overheat":      "took processor time from the encoders, by a model of heat",
	"gpu.contention":    "let others encode on the same processors",
	"gpu.session-limit": "had the transcoder refuse encoders, not a driver",
	"gpu.lost":          "killed the encoders; no card was gone",
}
