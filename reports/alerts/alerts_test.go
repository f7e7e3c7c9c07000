package alerts_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/reports/alerts"
	"github.com/livedrill/livedrill/reports/record"
)

var start = time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)

// evaluate runs the rules that ship over series that are given as a value for each second.
func evaluate(t *testing.T, seconds int, series map[string]func(second int) float64) map[string]alerts.Rule {
	t.Helper()
	db, err := record.OpenDatabase(filepath.Join(t.TempDir(), "tsdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := record.NewMetrics()
	second := 0
	for name, at := range series {
		m.GaugeFunc(name, "x", nil, func() float64 { return at(second) })
	}
	for ; second <= seconds; second++ {
		families, err := m.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Put(t.Context(), start.Add(time.Duration(second)*time.Second), "range", families); err != nil {
			t.Fatal(err)
		}
	}
	found, err := alerts.Evaluate(t.Context(), db, map[string]string{"core.yaml": alerts.Core}, start, start.Add(time.Duration(seconds)*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]alerts.Rule{}
	for _, r := range found {
		out[r.Name] = r
	}
	return out
}

// TestToTheSecond fires at five minutes, and not at one second less.
func TestToTheSecond(t *testing.T) {
	busy := func(int) float64 { return 0.9 }
	if r := evaluate(t, 299, map[string]func(int) float64{"livedrill_machine_busy_ratio": busy})["ProcessorBusy"]; len(r.Firings) != 0 || r.Pending < 290*time.Second {
		t.Errorf("after 4:59 it is %+v", r)
	}
	r := evaluate(t, 400, map[string]func(int) float64{"livedrill_machine_busy_ratio": busy})["ProcessorBusy"]
	if len(r.Firings) != 1 || !r.Firings[0].From.Equal(start.Add(5*time.Minute)) || !r.Firings[0].To.IsZero() || r.Severity != "P1" {
		t.Errorf("after 6:40 it is %+v", r)
	}
	ended := evaluate(t, 400, map[string]func(int) float64{"livedrill_machine_busy_ratio": func(s int) float64 {
		if s > 350 {
			return 0.1
		}
		return 0.9
	}})["ProcessorBusy"]
	if len(ended.Firings) != 1 || !ended.Firings[0].To.Equal(start.Add(355*time.Second)) {
		t.Errorf("the firing that ended is %+v", ended)
	}
}

// TestMistakesShowTheirPlace reads rule files that do not parse.
func TestMistakesShowTheirPlace(t *testing.T) {
	for text, want := range map[string][]string{
		"groups:\n  - name: g\n    rules:\n      - {alert: A, expr: 'sum(('}\n":                                         {"r.yaml:4:", "parse error"},
		"groups:\n  - name: g\n    rulez: []\n":                                                                         {"r.yaml:3: ", "rulez"},
		"groups:\n  - name: g\n    rules:\n      - {alert: A, lables: {}, expr: '1'}\n      - {alert: B, exprs: '1'}\n": {"r.yaml:4: ", "lables", "r.yaml:5: ", "exprs"},
		"groups:\n  - name: g\n  - name: g\n":                                                                           {"repeated"},
	} {
		err := alerts.Check("r.yaml", text)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, want it to say %q", text, err, part)
			}
		}
	}
	if err := alerts.Check("core.yaml", alerts.Core); err != nil {
		t.Error(err)
	}
}

// TestPromtool lets Prometheus' own tool run the unit tests of the rules that ship.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not on this machine (apt-get install prometheus)")
	}
	for _, args := range [][]string{{"check", "rules", "core.yaml"}, {"test", "rules", "core_test.yaml"}} {
		if said, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args, err, said)
		}
	}
}
