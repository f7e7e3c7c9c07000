// Package reports turns a run's record into numbers, a verdict and documents. It needs nothing but the run's directory, so
// that every stored run can be judged and rendered again.
package reports

import (
	"cmp"
	"slices"
	"time"
)

// Schema names the form of result.json.
const Schema = "livedrill.result/v1"

// Verdict is what a run or an objective comes to. The zero value claims nothing.
type Verdict string

// The verdicts of a run.
const (
	Inconclusive Verdict = ""
	Passed       Verdict = "passed"
	RunMissed    Verdict = "missed"
	Unrestored   Verdict = "unrestored"
	Interrupted  Verdict = "interrupted"
)

// The verdicts of an objective.
const (
	Met         Verdict = "met"
	Missed      Verdict = "missed"
	NotProvable Verdict = "not-provable"
	NotMeasured Verdict = "not-measured"
	Invalid     Verdict = "invalid"
)

// MarshalText writes the zero value out.
func (v Verdict) MarshalText() ([]byte, error) {
	if v == Inconclusive {
		return []byte("inconclusive"), nil
	}
	return []byte(v), nil
}

// UnmarshalText is the reverse of MarshalText.
func (v *Verdict) UnmarshalText(text []byte) error {
	if *v = Verdict(text); *v == "inconclusive" {
		*v = Inconclusive
	}
	return nil
}

func (v Verdict) String() string {
	text, _ := v.MarshalText()
	return string(text)
}

// Result is result.json. Ratios are 0 to 1, times are seconds from the start unless the name says otherwise.
type Result struct {
	Schema      string   `json:"schema"`
	Run         Run      `json:"run"`
	Verdict     Verdict  `json:"verdict"`
	Reasons     []string `json:"reasons"`
	Phases      []Phase  `json:"phases"`
	Loads       []Load   `json:"loads"`
	Faults      []Fault  `json:"faults"`
	Objectives  []Judged `json:"objectives"`
	Impact      []Impact `json:"impact"`
	Alerts      []Alert  `json:"alerts"`
	Consistency []Check  `json:"consistency"`
	Costs       Costs    `json:"costs"`

	SLA         *SLA       `json:"sla"`       // null where nobody watched
	Responses   []Response `json:"responses"` // by fault: the times from its injection to the proof that all is well
	Table       []Cell     `json:"table"`     // every SLI by phase and region
	Core        []Core     `json:"core"`      // the twelve core metrics
	Forecasts   []Forecast `json:"forecasts"` // limits that were seen coming
	Health      *Health    `json:"health"`    // of the machine; null: nothing was read
	Logs        []Anomaly  `json:"logs"`      // kinds of log lines that came more often
	Models      []Model    `json:"models"`    // what queueing theory says, beside what was measured
	Paths       []Path     `json:"paths"`     // of regions that are further away
	Remarks     []Remark   `json:"remarks"`   // what people said while the run went on
	Traces      []Trace    `json:"traces"`    // requests and pictures that show where each fault was felt
	Arms        *Arms      `json:"arms"`      // of an A/B run; null: it was none
	NotMeasured []Unknown  `json:"not_measured"`
	Actions     []Action   `json:"actions"` // what to do next
}

// Run says which run it was.
type Run struct {
	ID             string    `json:"id"`
	Scenario       string    `json:"scenario"`
	Summary        string    `json:"summary"`
	Cause          string    `json:"cause"` // class of root cause that the scenario is about
	ScenarioSHA256 string    `json:"scenario_sha256"`
	Seed           uint64    `json:"seed"`
	Profile        string    `json:"profile"`
	Defences       []string  `json:"defences"`
	Stack          string    `json:"stack_sha256"` // of the platform's inventory; empty: there was none, or an older run
	TimeScale      float64   `json:"time_scale"`
	Started        time.Time `json:"started"`
	Duration       float64   `json:"duration_s"`
	Version        string    `json:"version"`
	Machine        Machine   `json:"machine"`
}

// Machine is where it ran.
type Machine struct {
	Cores  int     `json:"cores"`
	Memory uint64  `json:"memory_bytes"`
	Kernel string  `json:"kernel"`
	Root   bool    `json:"root"`
	GPU    *string `json:"gpu"`
	Cgroup string  `json:"cgroup"`
}

// Phase is a stretch of the run between two boundaries.
type Phase struct {
	Name string  `json:"name"`
	From float64 `json:"from_s"`
	To   float64 `json:"to_s"`
}

// Load is what one workload did, all regions together.
type Load struct {
	Name         string  `json:"name"`
	Kind         string  `json:"kind"`
	Offered      float64 `json:"offered"`
	Achieved     float64 `json:"achieved"`
	Failed       float64 `json:"failed"`
	RateOffered  float64 `json:"rate_offered"`
	RateAchieved float64 `json:"rate_achieved"`
	LateP50      float64 `json:"late_p50_ms"`
	LateP99      float64 `json:"late_p99_ms"`
	LateP999     float64 `json:"late_p999_ms"`
	CPU          float64 `json:"cpu_s"`
	State        string  `json:"state"`

	Why map[string]float64 `json:"why,omitempty"` // of those that failed, how many for which reason, as the clients saw it
}

// Cause is why arrivals failed, and how many.
type Cause struct {
	Why string
	N   float64
}

// Causes are why arrivals failed, the most frequent first.
func (l Load) Causes() []Cause {
	var out []Cause
	for why, n := range l.Why {
		out = append(out, Cause{why, n})
	}
	slices.SortFunc(out, func(a, b Cause) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Why, b.Why)) })
	return out
}

// Fault is what became of one fault. A time that was never reached is null.
type Fault struct {
	ID        string             `json:"id"`
	Kind      string             `json:"kind"`
	On        string             `json:"on"`
	Settings  map[string]any     `json:"settings"`
	With      string             `json:"with,omitempty"` // the settings as a scenario has them
	BackEnd   string             `json:"back_end"`
	Injected  *float64           `json:"injected_s"`
	Effective *float64           `json:"effective_s"`
	Restored  *float64           `json:"restored_s"`
	Undone    *float64           `json:"undone_s"` // what was there is there again; clean is the proof of it
	Clean     *float64           `json:"clean_s"`
	Asked     map[string]float64 `json:"asked"`
	Measured  map[string]float64 `json:"measured"`
	AtEnd     map[string]float64 `json:"at_end"` // just before the restoration; null where there was no time to measure twice
	After     map[string]float64 `json:"after"`
	State     string             `json:"state"`
	Faded     string             `json:"faded,omitempty"` // why it was not in effect any more at its end
	Error     string             `json:"error,omitempty"`
	Mend      string             `json:"mend,omitempty"` // of one that is not restored: the command that does it by hand
}

// TakesEffect is the time from the order to inject to the full effect; null where that was never reached.
func (f Fault) TakesEffect() *float64 { return between(f.Injected, f.Effective) }

// TakesUndoing is the time from the order to restore to its end; the proof is not in it.
func (f Fault) TakesUndoing() *float64 { return between(f.Restored, f.Undone) }

// Judged is an objective with what was measured. Measured, Low and High are null where there is nothing to say.
type Judged struct {
	Name       string   `json:"name"`
	SLI        string   `json:"sli"`
	Quantile   *float64 `json:"quantile"`
	Phase      string   `json:"phase"`
	Op         string   `json:"op"`
	Threshold  float64  `json:"threshold"`
	Unit       string   `json:"unit"`
	Measured   *float64 `json:"measured"`
	Low        *float64 `json:"low"`
	High       *float64 `json:"high"`
	N          float64  `json:"n"`
	Windows    int      `json:"windows"`       // drawn by the bootstrap
	Effect     *float64 `json:"design_effect"` // n events tell as much as n ÷ this many independent ones
	Verdict    Verdict  `json:"verdict"`
	Expr       string   `json:"expr"`
	Why        string   `json:"why,omitempty"`
	Definition string   `json:"definition,omitempty"`
}

// Impact is what one fault did to one objective's SLI.
type Impact struct {
	Fault     string   `json:"fault"`
	Objective string   `json:"objective"`
	Detected  *float64 `json:"detected_after_s"` // first bad window, from the injection
	Whole     *float64 `json:"whole_after_s"`    // first of three good windows, from the injection; null: not within the run
	Worst     float64  `json:"worst"`
}

// Alert is one alerting rule over the run.
type Alert struct {
	Name     string   `json:"name"`
	Severity string   `json:"severity"`
	Expected bool     `json:"expected"`
	Silent   bool     `json:"silent"`  // it had to stay silent
	Fired    *float64 `json:"fired_s"` // first firing
	Firings  []Firing `json:"firings"`
	Fault    string   `json:"fault"`              // the last fault that was injected before it fired
	AfterT0  *float64 `json:"after_injection_s"`  // from that injection
	AfterBad *float64 `json:"after_bad_window_s"` // from the first bad window of an objective after it
	// Acknowledged is when somebody first said to be on it, once it had fired; null: nobody did.
	Acknowledged *float64 `json:"acknowledged_s"`
	State        string   `json:"state"` // as-expected, missed, false-alarm, silent, not-provable
	Why          string   `json:"why,omitempty"`
	Expr         string   `json:"expr"`
}

// Firing is one stretch of time in which an alert was firing.
type Firing struct {
	From   float64  `json:"from_s"`
	To     *float64 `json:"to_s"` // null: to the end of the run
	Labels string   `json:"labels"`
}

// Check is one proof that the numbers agree with each other.
type Check struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Costs are what livedrill itself took of the machine.
type Costs struct {
	ReadyAfter float64 `json:"ready_after_s"` // from the command to a healthy platform
	RangeCores float64 `json:"range_cores"`   // of timeline, scraper and faults, while the load ran
	LoadCores  float64 `json:"load_cores"`
	StackCores float64 `json:"platform_cores"`
}

// ExitCode is what the command ends with.
func (r Result) ExitCode() int {
	switch r.Verdict {
	case Passed:
		return 0
	case RunMissed:
		return 3
	case Unrestored:
		return 5
	case Interrupted:
		return 130
	default:
		return 4
	}
}
