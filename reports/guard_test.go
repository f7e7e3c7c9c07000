package reports_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/reportstest"
)

// TestGuard: what is missed for certain in the last seconds ends a run; what is well, or not asked about now, does not.
func TestGuard(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	db, err := record.ReadDatabase(filepath.Join(story.Write(t), "tsdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	always := func(string) (float64, bool) { return 0, true }
	steady, fault := story.Started.Add(30*time.Second), story.Started.Add(60*time.Second)
	for name, c := range map[string]struct {
		text string
		at   time.Time
		live func(string) (float64, bool)
		want bool
	}{
		"well":                        {"api_error_ratio <= 5% abort", steady, always, false},
		"missed":                      {"api_error_ratio <= 5% abort", fault, always, true},
		"missed, but of another time": {"api_error_ratio <= 5% during recovery abort", fault, func(during string) (float64, bool) { return 0, during == "fault" }, false},
		"a quantile":                  {"api_latency_seconds p50 <= 100ms abort", fault, always, true},
		"a limit far away":            {"api_error_ratio <= 90% abort", fault, always, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := reports.ParseObjective(c.text)
			if err != nil {
				t.Fatal(err)
			}
			why := ""
			if g := reports.NewGuard(reports.Run{Started: story.Started}, []reports.Objective{o}, db); g != nil {
				if why, err = g.Broken(t.Context(), c.at, c.live); err != nil {
					t.Fatal(err)
				}
			}
			if (why != "") != c.want {
				t.Errorf("%q", why)
			}
		})
	}
}
