package reports

import (
	"context"
	"path/filepath"

	"github.com/livedrill/livedrill/reports/logs"
)

// Anomaly is a kind of log line that came more often than before anything was broken.
type Anomaly struct {
	File     string  `json:"file"`
	Template string  `json:"template"` // what the lines have in common; <*> stands for what differs
	Example  string  `json:"example"`
	From     float64 `json:"from_s"`
	To       float64 `json:"to_s"`
	Count    int     `json:"count"`
	Usual    float64 `json:"usual"` // how many were to be expected
	P        float64 `json:"p"`     // chance of as many, corrected for all templates and windows
	Fault    string  `json:"fault,omitempty"`
}

// logs mines the processes' logs for kinds of lines whose rate rose after the first fault. The steady phase is what is usual.
func (j *judge) logs(_ context.Context, r *Result) error {
	var steady Phase
	for _, p := range j.Phases {
		if p.Name == "steady" {
			steady = p
		}
	}
	if steady.To <= steady.From {
		return nil
	}
	lines, err := logs.Read(filepath.Join(j.dir, "logs"), j.Run.Started)
	if err != nil {
		return err
	}
	for _, a := range logs.Anomalies(lines, steady.From, steady.To, j.Run.Duration) {
		out := Anomaly{File: a.File, Template: a.Template, Example: a.Example, From: a.From, To: a.To, Count: a.Count, Usual: a.Usual, P: a.P}
		for _, f := range r.Faults {
			if f.Injected != nil && a.To > *f.Injected && a.From < j.until(f) {
				out.Fault = f.ID
			}
		}
		r.Logs = append(r.Logs, out)
	}
	return nil
}
