// Package gate compares runs of two versions and decides, metric by metric and with honest statistics, whether the candidate is
// better, the same, worse, or whether the runs cannot tell.
package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// Run is one run as the gate sees it: a number for each metric. It is small enough for a git repository.
type Run struct {
	ID       string             `json:"id"`
	Scenario string             `json:"scenario"`
	Sha256   string             `json:"scenario_sha256"`
	Profile  string             `json:"profile"`
	Version  string             `json:"version"`
	Machine  string             `json:"machine"`
	Scale    float64            `json:"time_scale"`
	Faults   string             `json:"faults"` // kinds, in order
	Metrics  map[string]float64 `json:"metrics"`
	Events   map[string]float64 `json:"events"` // behind each share
}

// Metric says how a number is compared.
type Metric struct {
	Name string
	Unit string
	// HigherIsBetter turns the meaning of a rise around.
	HigherIsBetter bool
	// Absolute metrics are compared by their difference (shares that can be 0 or 1), the others by their ratio.
	Absolute bool
	// Least is the smallest change that matters: a difference, or a relative change.
	Least float64
}

// Metrics lists what runs are compared by. An SLI that a run does not have is left out.
var Metrics = []Metric{
	share("push_success_ratio", true), share("publish_accept_ratio", true), share("fast_start_ratio", true), share("stall_ratio", false),
	share("session_drop_ratio", false), share("danmaku_delivery_ratio", true), share("danmaku_accept_ratio", true), share("api_error_ratio", false),
	share("cache_hit_ratio", true), share("payment_success_ratio", true), share("availability_ratio", true),
	duration("first_frame_seconds p95"), duration("e2e_latency_seconds p50"), duration("e2e_latency_seconds p95"),
	duration("transcode_delay_seconds p95"), duration("danmaku_ack_seconds p99"), duration("danmaku_delivery_seconds p50"),
	duration("danmaku_delivery_seconds p99"), duration("api_latency_seconds p50"), duration("api_latency_seconds p99"),
	{Name: "platform_cores", Unit: "cores", Least: 0.05}, {Name: "load_cores", Unit: "cores", Least: 0.05},
	{Name: "ready_after_seconds", Unit: "seconds", Least: 0.2},
}

func share(name string, higher bool) Metric {
	return Metric{Name: name, Unit: "ratio", HigherIsBetter: higher, Absolute: true, Least: 0.01}
}

func duration(name string) Metric { return Metric{Name: name, Unit: "seconds", Least: 0.05} }

// Pick gives the metrics with these names, all where there are none.
func Pick(names []string) ([]Metric, error) {
	if len(names) == 0 {
		return Metrics, nil
	}
	var known []string
	for _, m := range Metrics {
		known = append(known, m.Name)
	}
	var out []Metric
	for _, name := range names {
		at := slices.Index(known, name)
		if at < 0 {
			return nil, fmt.Errorf("no metric %q%s: there are %s", name, reports.Nearest(name, known), strings.Join(known, ", "))
		}
		if !slices.ContainsFunc(out, func(m Metric) bool { return m.Name == name }) {
			out = append(out, Metrics[at])
		}
	}
	return out, nil
}

// Of takes a judged run's numbers. A run that was not carried through has none worth comparing.
func Of(s reports.Sheet) (Run, error) {
	r := Run{ID: s.Run.ID, Scenario: s.Run.Scenario, Sha256: s.Run.ScenarioSHA256, Profile: s.Run.Profile, Version: s.Run.Version, Metrics: map[string]float64{}, Events: map[string]float64{}, Scale: s.Run.TimeScale,
		Machine: fmt.Sprintf("%d cores, Linux %s", s.Run.Machine.Cores, s.Run.Machine.Kernel)}
	switch {
	case s.Damaged:
		return r, fmt.Errorf("%s: its record is damaged or of a run that died", s.Run.ID)
	case s.Verdict == reports.Interrupted || s.Verdict == reports.Unrestored || len(s.Table) == 0:
		return r, fmt.Errorf("%s: it is %s, and says nothing about a version", s.Run.ID, s.Verdict)
	}
	if len(s.Problems) > 0 {
		return r, fmt.Errorf("%s: something went wrong in it: %s", s.Run.ID, strings.Join(s.Problems, "; "))
	}
	for _, f := range s.Faults {
		if f.State != "restored" {
			return r, fmt.Errorf("%s: %s is %s: the run is not like the others", s.Run.ID, f.Kind, f.State)
		}
		r.Faults += f.Kind + " "
	}
	for _, l := range s.Loads {
		if l.State == "saturated" {
			return r, fmt.Errorf("%s: the load %s was saturated: its numbers are the load's, not the platform's", s.Run.ID, l.Name)
		}
	}
	whole := s.Whole()
	for _, m := range Metrics {
		name, point, _ := strings.Cut(m.Name, " ")
		if point == "" {
			point = "value"
		}
		if v := whole[name][point]; v != nil {
			r.Metrics[m.Name] = *v
			if n := whole[name]["n"]; m.Absolute && n != nil {
				r.Events[m.Name] = *n
			}
		}
	}
	r.Metrics["platform_cores"], r.Metrics["load_cores"] = s.Costs.StackCores, s.Costs.LoadCores
	r.Metrics["ready_after_seconds"] = s.Costs.ReadyAfter
	return r, nil
}

// mixed finds reasons why two groups of runs cannot be compared: other scenarios, machines, time scales or faults, or a side
// that is of two kinds itself.
func mixed(a, b []Run) []string {
	var out []string
	differ := func(what string, runs []Run, of func(Run) string) {
		var seen []string
		for _, r := range runs {
			if v := of(r); !slices.Contains(seen, v) {
				seen = append(seen, v)
			}
		}
		if len(seen) > 1 {
			out = append(out, fmt.Sprintf("the runs differ in their %s: %s", what, strings.Join(seen, ", ")))
		}
	}
	all := slices.Concat(a, b)
	differ("scenario", all, func(r Run) string { return r.Scenario })
	differ("machine", all, func(r Run) string { return r.Machine })
	differ("time scale", all, func(r Run) string { return fmt.Sprint(r.Scale) })
	differ("faults", all, func(r Run) string { return fmt.Sprintf("%q", r.Faults) })
	for _, side := range [][]Run{a, b} {
		differ("profile", side, func(r Run) string { return r.Profile })
		differ("scenario's contents", side, func(r Run) string { return fmt.Sprintf("%.12s", r.Sha256) })
	}
	return out
}
