package reports

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// FactsFile holds what a run knows and its time series do not; with both, the run can be judged at any time.
const FactsFile = "facts.json"

// Facts are what the range leaves behind for the judge.
type Facts struct {
	Run         Run               `json:"run"`
	Ready       float64           `json:"ready_after_s"`
	Interrupted bool              `json:"interrupted"`
	Phases      []Phase           `json:"phases"`
	Faults      []Fault           `json:"faults"`
	Windows     map[string]Window `json:"windows"` // by fault id: the scrapes before it and after it, seconds from the start
	Objectives  []Objective       `json:"objectives"`
	Workloads   []Workload        `json:"workloads"`
	Verify      []string          `json:"verify"`
	Problems    []string          `json:"problems"` // what went wrong in the run itself
	Notes       []string          `json:"notes"`    // stated lesser modes
}

// Workload is one load of the scenario.
type Workload struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// Write puts the facts into a run directory.
func (f Facts) Write(dir string) error { return writeJSON(filepath.Join(dir, FactsFile), f) }

// ReadFacts reads them again.
func ReadFacts(dir string) (Facts, error) {
	var f Facts
	data, err := os.ReadFile(filepath.Join(dir, FactsFile))
	if err != nil {
		return f, fmt.Errorf("%s holds no finished run: %w", dir, err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("%s: %w", filepath.Join(dir, FactsFile), err)
	}
	if f.Run.Scenario == "" || f.Run.Started.IsZero() {
		return f, fmt.Errorf("%s: it is not of a run", filepath.Join(dir, FactsFile))
	}
	return f, nil
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
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
