package reports

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// FactsFile holds what a run knows and its time series do not; with both, the run can be judged at any time.
const FactsFile = "facts.json"

// FactsSchema names the form of facts.json. A later one is refused, never guessed at.
const FactsSchema = "livedrill.facts/v1"

// Facts are what the range leaves behind for the judge. They are written anew at each boundary, so that of a run that dies
// what is known up to there can be judged.
type Facts struct {
	Schema      string            `json:"schema"`
	Finished    bool              `json:"finished"`
	Run         Run               `json:"run"`
	Ready       float64           `json:"ready_after_s"`
	Interrupted bool              `json:"interrupted"`
	Aborted     string            `json:"aborted,omitempty"` // why the run was ended before its time
	Phases      []Phase           `json:"phases"`
	Faults      []Fault           `json:"faults"`
	Windows     map[string]Window `json:"windows"` // by fault id: the scrapes before it and after it, seconds from the start
	Objectives  []Objective       `json:"objectives"`
	Workloads   []Workload        `json:"workloads"`
	Verify      []string          `json:"verify"`
	Problems    []string          `json:"problems"` // what went wrong in the run itself
	Notes       []string          `json:"notes"`    // stated lesser modes
	Alerts      AlertRules        `json:"alerts"`
	Incidents   []Incident        `json:"incidents"` // how often each fault happens in real life
	Targets     Targets           `json:"targets"`
	Paths       []Path            `json:"paths"`   // of regions that are further away than the machine has them
	Remarks     []Remark          `json:"remarks"` // what people and the runbook did meanwhile
	Topology    []Node            `json:"topology"`
}

// AlertRules are Prometheus rule files to be tried on the run, and what is expected of them.
type AlertRules struct {
	Files  map[string]string `json:"files,omitempty"` // text by name
	Expect []string          `json:"expect,omitempty"`
	Silent []string          `json:"silent,omitempty"`
}

// Incident is how often a fault of a kind happens outside of drills, and how long it lasts, as the user says.
type Incident struct {
	Fault    string  `json:"fault"`
	PerMonth float64 `json:"per_month"`
	Lasts    float64 `json:"lasts_s"`
}

// Targets are what has been promised to others.
type Targets struct {
	RTO          float64 `json:"rto_s"`
	Availability float64 `json:"availability"`
	Judgement    float64 `json:"judgement_s"` // until somebody has acknowledged
	Cause        float64 `json:"cause_s"`     // from there until the cause is named
	Handling     float64 `json:"handling_s"`  // until all is whole again
}

// Path is how much longer a round trip of a region's people was for the whole run.
type Path struct {
	Region   string  `json:"region"`
	Asked    float64 `json:"asked_s"`
	Measured float64 `json:"measured_s"` // median
	N        float64 `json:"n"`          // packets that it was measured with, before the load
}

// Node is one component of the platform, for its picture.
type Node struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Region string `json:"region,omitempty"`
}

// Workload is one load of the scenario.
type Workload struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// Write puts the facts into a run directory.
func (f Facts) Write(dir string) error {
	f.Schema = FactsSchema
	return writeJSON(filepath.Join(dir, FactsFile), f)
}

// ReadFacts reads them again.
func ReadFacts(dir string) (Facts, error) {
	var f Facts
	data, err := ReadFile(filepath.Join(dir, FactsFile))
	if err != nil {
		return f, fmt.Errorf("%s holds no run: %w", dir, err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("%s: %w", filepath.Join(dir, FactsFile), err)
	}
	if longest := 7 * 24 * 3600.0; !(f.Run.Duration >= 0 && f.Run.Duration <= longest) || slices.ContainsFunc(f.Phases, func(p Phase) bool { return !(p.From >= 0 && p.To <= longest) }) {
		return f, fmt.Errorf("%s: no run lasts so long, or begins before itself", filepath.Join(dir, FactsFile))
	}
	if f.Schema != FactsSchema {
		return f, fmt.Errorf("%s: it is of schema %q, and this version of livedrill reads %q", filepath.Join(dir, FactsFile), f.Schema, FactsSchema)
	}
	for _, o := range f.Objectives {
		if !slices.Contains(ops, o.Op) {
			return f, fmt.Errorf("%s: objective %q: nothing is compared by %q", filepath.Join(dir, FactsFile), o.Name, o.Op)
		}
	}
	if f.Run.Scenario == "" || f.Run.Started.IsZero() {
		return f, fmt.Errorf("%s: it is not of a run", filepath.Join(dir, FactsFile))
	}
	return f, nil
}

// largest is the most that a file may hold of what is read as a whole.
const largest = 64 << 20

// ReadFile reads an ordinary file that is not too large.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > largest {
		return nil, fmt.Errorf("%s is no ordinary file, or has more than %d bytes", path, largest)
	}
	return os.ReadFile(path)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path) // a reader never sees half of it
}

// abs turns seconds from the start into Unix seconds.
func (f Facts) abs(s float64) float64 {
	return float64(f.Run.Started.UnixMilli())/1000 + s
}

// window finds what an objective's "during" means in this run, in Unix seconds.
func (f Facts) window(during string) (Window, bool) {
	out := Window{From: -1}
	grow := func(from, to float64) {
		if out.From < 0 || from < out.From {
			out.From = from
		}
		out.To = max(out.To, to)
	}
	for _, p := range f.Phases {
		if p.Name == during || during == WholeRun && p.Name != "warm-up" {
			grow(f.abs(p.From), f.abs(p.To))
		}
	}
	for _, fault := range f.Faults {
		if w, ok := f.Windows[fault.ID]; ok && (fault.ID == during || fault.Kind == during) {
			grow(f.abs(w.From), f.abs(w.To))
		}
	}
	return out, out.From >= 0 && out.To > out.From
}
