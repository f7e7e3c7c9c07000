// Package scenarios is what a drill is: the file it is written in, the plan that follows from it, and its run along the
// timeline.
package scenarios

import (
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target/unit"
)

// Scenario is one story: a platform, load on it, what goes wrong, and what shall hold all the same.
type Scenario struct {
	Name       string
	Summary    string
	Cause      string
	Seed       uint64
	Target     Target
	Phases     Phases
	Paths      map[string]Path // by region; one that is not there is as short as the machine has it
	Load       []Workload
	Faults     []Fault
	Surprise   Surprise // what some of them were drawn from; they stand among them
	Objectives []reports.Objective
	Runbook    []Rule
	Verify     []string
	Alerts     reports.AlertRules
	Incidents  []reports.Incident
	SLA        reports.Targets

	quiet time.Duration // how long the fault phase is when its faults are left out
}

// Target says which platform.
type Target struct {
	Profile  string          `json:"profile" help:"weak or hardened"`
	Defences map[string]bool `json:"defences,omitempty" help:"single defences, on or off"`
	Encoder  string          `json:"encoder" help:"ffmpeg's encoder; empty takes the card where there is one"`
	Drives   []string        `json:"drives,omitempty" help:"components whose disk can be told to be slow or fail, beside those that the faults need"`
	Replica  bool            `json:"replica,omitempty" help:"MariaDB has a replica that the gateway reads from, as where a fault is put on mariadb-replica"`
	Canary   Canary          `json:"canary,omitzero" help:"another version of the gateway for a share of the users, in the same run"`
}

// Canary is the b of an A/B run.
type Canary struct {
	Share    unit.Ratio      `json:"share" help:"of the users; 0: no canary"`
	Defences map[string]bool `json:"defences,omitempty" help:"its defences where they differ, on or off"`
	Program  string          `json:"program,omitempty" help:"another livedrill that runs it"`
}

// Phases say how long the parts without faults are. The fault phase is as long as the faults are.
type Phases struct {
	WarmUp   unit.Duration `json:"warm-up" help:"time before anything is judged"`
	Steady   unit.Duration `json:"steady" help:"time before the first fault"`
	Recovery unit.Duration `json:"recovery" help:"time after the last fault"`
}

// Workload is one load of a scenario.
type Workload struct {
	Name      string
	Kind      string
	Regions   map[string]unit.Ratio
	Segment   Segment // the part of it that is made here
	Generator loadgen.Generator
}

// Fault is one fault of a scenario's timeline.
type Fault struct {
	ID    string
	At    time.Duration // after the steady phase
	For   time.Duration
	Kind  string
	On    string
	Fault injectors.Fault
}

// proofTime is what the fault phase leaves for the last fault's proof of restoration.
const proofTime = 3 * time.Second

// FaultTime is how long the fault phase is.
func (s Scenario) FaultTime() time.Duration {
	end := s.quiet
	for _, f := range s.Faults {
		end = max(end, f.At+f.For+proofTime)
	}
	return end
}

// LeaveFaultsOut makes the scenario its own control: the same load for the same time, and nothing goes wrong. Objectives
// that speak of a fault speak of the whole run then.
func (s *Scenario) LeaveFaultsOut() {
	s.quiet = s.FaultTime()
	for i, o := range s.Objectives {
		if o.During != "fault" && slices.ContainsFunc(s.Faults, func(f Fault) bool { return o.During == f.Kind || o.During == f.ID }) {
			s.Objectives[i].During = reports.WholeRun
		}
	}
	s.Target.Drives, s.Target.Replica = s.drives(), s.replica() // the same platform
	s.Faults, s.Surprise = nil, Surprise{}
	s.Alerts.Expect = nil
}

// Length is how long the whole run is, from the first load on.
func (s Scenario) Length() time.Duration {
	return time.Duration(s.Phases.WarmUp) + time.Duration(s.Phases.Steady) + s.FaultTime() + time.Duration(s.Phases.Recovery)
}

// Causes are the classes of root causes, one of which each scenario is about.
var Causes = []string{"surge", "capacity", "network", "no-failover", "abuse", "hardware", "mixed"}

// causes are the classes of the families of faults, for scenarios that name none.
var causes = map[string]string{"network": "network", "process": "no-failover", "tls": "no-failover", "clock": "no-failover", "resource": "capacity", "queue": "capacity",
	"cache": "capacity", "redis": "capacity", "mysql": "capacity", "gpu": "hardware", "media": "hardware", "danmaku": "abuse", "attack": "abuse"}

// causeOf is the class of a scenario that names none: that of its faults if they have one, and a surge where there is only load.
func causeOf(faults []Fault) string {
	out := "surge"
	for i, f := range faults {
		family, _, _ := strings.Cut(f.Kind, ".")
		if i > 0 && causes[family] != out {
			return "mixed"
		}
		out = causes[family]
	}
	return out
}
