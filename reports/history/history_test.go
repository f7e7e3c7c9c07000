package history_test

import (
	"bytes"
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
	var out bytes.Buffer
	if err := b.Write(&out); err != nil || !strings.Contains(out.String(), "1 actions, 0 not proved done") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
