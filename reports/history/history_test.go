package history_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/documents"
	"github.com/livedrill/livedrill/reports/history"
	"github.com/livedrill/livedrill/reports/reportstest"
)

// TestBook has twelve runs: the platform needs more processor from the seventh on, and what the first six find is mended in the
// last ones.
func TestBook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 12 {
		s := reportstest.Usual()
		s.Started = s.Started.Add(time.Duration(i) * 24 * time.Hour)
		s.Seed, s.Noise = uint64(i+1), 0.01
		if i >= 6 {
			s.Cores, s.Hurt = 0.8, 0
		}
		s.Change = func(f *reports.Facts) { f.Objectives = f.Objectives[:1] }
		run := s.Write(t)
		if _, err := documents.Finish(t.Context(), run, "en"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(run, filepath.Join(dir, s.Started.Format("20060102"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "broken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken", "result.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := history.Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Runs) != 12 || len(b.Skipped) != 1 {
		t.Errorf("%d runs, %d skipped", len(b.Runs), len(b.Skipped))
	}
	for _, trend := range b.Trends {
		if trend.Metric == "platform cores" && (len(trend.Changes) != 1 || trend.Changes[0] != b.Runs[6].ID || trend.To < trend.From*1.4) {
			t.Errorf("the change at %s was found at %v: %g to %g", b.Runs[6].ID, trend.Changes, trend.From, trend.To)
		}
	}
	if len(b.Actions) != 1 || b.Actions[0].Proved != b.Runs[6].ID || b.Actions[0].Since != b.Runs[0].ID {
		t.Errorf("actions: %+v", b.Actions)
	}
	if len(b.Targets) != 1 || b.Targets[0].Runs != 12 || b.Targets[0].Missed != 0 || math.Abs(b.Targets[0].Most-0.2209) > 1e-4 {
		t.Errorf("twelve of twelve within 15 min: %+v", b.Targets)
	}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil || !strings.Contains(out.String(), "1 actions, 0 not proved done") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestProvesNothing has an action, and a later run that looks as if it were done: only one that ended, under the same faults and against the
// same promise, proves it.
func TestProvesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*reports.Facts)
		proves bool
	}{
		{"the same", func(*reports.Facts) {}, true},
		{"interrupted", func(f *reports.Facts) { f.Interrupted = true }, false},
		{"a weaker fault", func(f *reports.Facts) { f.Faults[0].Asked = map[string]float64{"loss_ratio": 0.001} }, false},
		{"a shorter fault", func(f *reports.Facts) { *f.Faults[0].Restored = *f.Faults[0].Injected + 1 }, false},
		{"another component", func(f *reports.Facts) { f.Faults[0].On = "edge-south" }, false},
		{"no fault", func(f *reports.Facts) { f.Faults, f.Windows = nil, nil }, false},
		{"in less time", func(f *reports.Facts) { f.Run.TimeScale = 0.05 }, false},
		{"a promise of less", func(f *reports.Facts) { f.Objectives[0].Threshold = 0.99 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for i := range 2 {
				s := reportstest.Short()
				s.Started = s.Started.Add(time.Duration(i) * 24 * time.Hour)
				s.Change = func(f *reports.Facts) {
					if f.Objectives = f.Objectives[:1]; i == 1 {
						f.Objectives[0].During = reports.WholeRun
						c.change(f)
					}
				}
				if i == 1 {
					s.Hurt = 0
				}
				run := s.Write(t)
				if _, err := documents.Finish(t.Context(), run, "en"); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(run, filepath.Join(dir, s.Started.Format("20060102"))); err != nil {
					t.Fatal(err)
				}
			}
			b, err := history.Read(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Actions) == 0 || (b.Actions[0].Proved != "") != c.proves {
				t.Errorf("actions: %+v", b.Actions)
			}
		})
	}
}

// TestEdited: a result that somebody has edited, and one with names that move the cursor, do not come into the book as they are.
func TestEdited(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"edited", "moving"} {
		s := reportstest.Short()
		s.Seed = uint64(len(name))
		if name == "moving" {
			s.Seed = 9
			s.Change = func(f *reports.Facts) { f.Objectives[0].Name = "\x1b]0;x\x07up" }
		}
		run := s.Write(t)
		if _, err := documents.Finish(t.Context(), run, "en"); err != nil {
			t.Fatal(err)
		}
		if name == "edited" {
			path := filepath.Join(run, "result.json")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var r map[string]any
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			r["verdict"] = "passed"
			if text, err = json.Marshal(r); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(run, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := history.Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Runs) != 1 || len(b.Skipped) != 1 || !strings.Contains(b.Skipped[0], "was changed after the run") {
		t.Errorf("%d runs, skipped %q", len(b.Runs), b.Skipped)
	}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil || strings.ContainsAny(out.String(), "\x1b\x07") {
		t.Errorf("%v, %q", err, out.String())
	}
}
