package reports_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/reportstest"
)

func judged(t *testing.T, s reportstest.Story) reports.Sheet {
	t.Helper()
	sheet, err := reports.Judge(t.Context(), s.Write(t))
	if err != nil {
		t.Fatal(err)
	}
	return sheet
}

// usual is the usual story, judged once for all tests that only look at it.
func usual(t *testing.T) reports.Sheet {
	t.Helper()
	if known == nil {
		s := judged(t, reportstest.Usual())
		known = &s
	}
	return *known
}

var known *reports.Sheet

func near(t *testing.T, what string, got *float64, want, tolerance float64) {
	t.Helper()
	if got == nil || math.Abs(*got-want) > tolerance {
		t.Errorf("%s is %v, want %g", what, deref(got), want)
	}
}

func deref(v *float64) any {
	if v == nil {
		return "null"
	}
	return *v
}

// TestKnownAnswers judges a run of which everything is known: half of the north fails for 30 of the 40 seconds of the fault phase.
func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	s := usual(t)
	for i, want := range []struct {
		measured, tolerance, n float64
		verdict                reports.Verdict
	}{
		{1200.0 / 4080, 1e-9, 4080, reports.Missed}, // 100 requests and 2 gifts a second
		{1.19, 0.03, 3100, reports.Missed},          // half of 0.8 s to one and a half of it, 80 % of the events: near the top
		{1200.0 / 11000, 1e-9, 1200, reports.Met},   // sessions: 100 at once, 10 more a second
		{1, 1e-9, 4000, reports.Met},                // nothing failed in 4,000
		{1.15, 0.06, 11000, reports.Missed},
		{0, 0, 240, reports.Met},
	} {
		o := s.Objectives[i]
		if o.Verdict != want.verdict || o.N != want.n {
			t.Errorf("%s: %s with n %g, want %s with %g (%s)", o.Name, o.Verdict, o.N, want.verdict, want.n, o.Why)
		}
		near(t, o.Name, o.Measured, want.measured, want.tolerance)
		if o.Low == nil || *o.Low > *o.Measured || o.High != nil && *o.High < *o.Measured {
			t.Errorf("%s: bounds %v to %v do not hold %v", o.Name, deref(o.Low), deref(o.High), deref(o.Measured))
		}
	}
	if s.Verdict != reports.RunMissed || s.ExitCode() != 3 {
		t.Errorf("the run is %s, exit code %d", s.Verdict, s.ExitCode())
	}
}

// TestOneOutage judges the same run as one in which nobody had broken anything: the outage is one event, and proves little.
func TestOneOutage(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Change = func(f *reports.Facts) {
		f.Faults, f.Windows, f.Phases = nil, nil, []reports.Phase{{Name: "steady", From: 10, To: 120}}
		f.Objectives = f.Objectives[2:3]
	}
	o := judged(t, story).Objectives[0]
	if o.Effect == nil || *o.Effect < 20 || *o.High-*o.Low < 0.15 {
		t.Errorf("one outage of 30 s has a design effect of %v, and the bounds %v to %v", deref(o.Effect), deref(o.Low), deref(o.High))
	}
}

// TestCleanSessions: as many sessions without a stall as 99.9 % takes, and not as many as 99.99 % does.
func TestCleanSessions(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Crowd = 10
	b := judged(t, story).SLA.Budgets
	if b[0].Usual != reports.Met || b[1].Usual != reports.NotProvable {
		t.Errorf("9,000 sessions without a stall: 99.9 %% is %s, 99.99 %% is %s", b[0].Usual, b[1].Usual)
	}
}

// TestSaturated: a load that does not make what was asked for says nothing about the platform, however small it is.
func TestSaturated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		unmade, crowd float64
		state         string
	}{{"all made", 0, 1, "valid"}, {"half a percent is not", 0.005, 1, "valid"}, {"two percent are not", 0.02, 1, "saturated"},
		{"a few, and most of them are not", 0.8, 0.01, "saturated"}} {
		story := reportstest.Short()
		story.Unmade, story.Crowd = c.unmade, c.crowd
		s := judged(t, story)
		invalid := 0
		for _, o := range s.Objectives {
			if o.Verdict == reports.Invalid {
				invalid++
			}
		}
		if s.Loads[0].State != c.state || (c.state == "saturated") != (invalid > 0 && s.Verdict == reports.Inconclusive && s.ExitCode() == 4) {
			t.Errorf("%s: the load of %g is %s, %d objectives are invalid, the run is %s", c.name, s.Loads[0].Offered, s.Loads[0].State, invalid, s.Verdict)
		}
	}
}

// TestForecasts has processors that fill up, and are full at 272 s; and ones that are busy all the time.
func TestForecasts(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Steady = 240
	story.Busy = func(at int) float64 { return min(1, 0.0035*float64(at)) }
	s := judged(t, story)
	if len(s.Forecasts) != 1 || s.Forecasts[0].Metric != "processor in use" {
		t.Fatalf("forecasts: %+v", s.Forecasts)
	}
	f := s.Forecasts[0]
	near(t, "crossed", f.Crossed, 272, 1)
	near(t, "forecast", &f.Crossing, 272, 10)
	if f.Lead == nil || *f.Lead < 60 || *f.Lead != *f.Crossed-f.Said {
		t.Errorf("said at %g s, crossed at %v", f.Said, deref(f.Crossed))
	}
	story.Busy = nil
	if s := judged(t, story); len(s.Forecasts) != 0 {
		t.Errorf("a level is forecast to cross: %+v", s.Forecasts)
	}
	if s := usual(t); !slices.ContainsFunc(s.NotMeasured, func(u reports.Unknown) bool { return u.What == "limits that come closer" }) {
		t.Errorf("too few readings for a forecast are not said: %v", s.NotMeasured)
	}
}

// TestOddest has processors that are busy for a few seconds of the fault, and metrics that nobody offers.
func TestOddest(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Busy = func(at int) float64 {
		if at >= 60 && at < 63 {
			return 0.9
		}
		return 0.5 + 0.02*float64(at%3-1) // a median distance of 0.02
	}
	for _, c := range judged(t, story).Core {
		switch {
		case c.Name == "processor in use":
			near(t, "score", c.Odd, 0.4/(1.4826*0.02), 0.01)
			near(t, "at", c.OddAt, 60, 0)
		case c.N == 0 && c.Odd != nil:
			t.Errorf("%s was never read and has a score of %g", c.Name, *c.Odd)
		}
	}
}

// TestGaps has a record in which ten seconds are missing. A reading counts for five seconds.
func TestGaps(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Unread = [2]int{20, 31}
	s := judged(t, story)
	at := slices.IndexFunc(s.Core, func(c reports.Core) bool { return c.Name == "processor in use" })
	if got := s.Core[at].Gaps; got < 4 || got > 7 {
		t.Errorf("%g s without a reading", got)
	}
	if at := slices.IndexFunc(usual(t).Core, func(c reports.Core) bool { return c.Name == "processor in use" }); usual(t).Core[at].Gaps > 0 {
		t.Error("a record without gaps has some")
	}
}

// TestSLA holds the availabilities, the budget and the targets against what the story says.
func TestSLA(t *testing.T) {
	t.Parallel()
	s := usual(t).SLA
	near(t, "in the drill", &s.InDrill.Value, 1-1200.0/11000, 1e-9)
	near(t, "without the faults", &s.FaultExcluded.Value, 1, 0)
	near(t, "sessions in the steady phase and in the recovery", &s.FaultExcluded.N, 900, 1e-9)
	near(t, "that they prove", &s.FaultExcluded.Low, math.Pow(0.05, 1.0/900), 1e-9)
	// Hurt from the injection at 40 s to the first good window's end at 72 s: 1,200 of 3,200 session-seconds, for 2 × 600 s a month.
	near(t, "unavailable in an incident", s.Extrapolated.From[0].Unavailable, 1200.0/3200, 1e-9)
	near(t, "over a month", s.Extrapolated.Value, 1-1200*0.375/(30*86400), 1e-12)
	near(t, "budget at 99.9 %", &s.Budgets[0].Seconds, 2592, 1e-6)
	near(t, "spent", &s.Budgets[0].Spent, 1200.0/11000*110, 1e-6)
	for i, want := range []struct{ threshold, window float64 }{{14.4, 3600}, {6, 6 * 3600}, {3, 24 * 3600}, {1, 72 * 3600}} { // the SRE workbook's
		b := s.Budgets[0].Burns[i]
		if b.Threshold != want.threshold || b.Window != want.window {
			t.Errorf("burn rate %d: %+v", i, b)
		}
		near(t, "alarm", b.Alarm, want.window*want.threshold/375, 1e-6)
	}
	near(t, "budget at 99.99 %", &s.Budgets[1].Seconds, 259.2, 1e-6)
	near(t, "spent of it", &s.Budgets[1].Share, 1200.0/11000*110/259.2, 1e-9)
	// 37.5 % unavailable burns 375 times too fast; an hour at 14.4 is 51.84 s of error, which takes 138.24 s of this fault.
	near(t, "burn rate", &s.Budgets[0].Burns[0].Rate, 375, 1e-6)
	near(t, "alarm", s.Budgets[0].Burns[0].Alarm, 138.24, 1e-6)
	if b := s.Budgets[0]; b.Drill != reports.Missed || b.Usual != reports.NotProvable || b.Trials != 2995 {
		t.Errorf("99.9 %%: %s with the fault, %s without, %g clean trials", b.Drill, b.Usual, b.Trials)
	}
	if b := s.Budgets[1]; b.Usual != reports.NotProvable { // and not 99.99 %
		t.Errorf("99.99 %%: %s without the fault", b.Usual)
	}
	if !s.Targets.Exclude {
		t.Error("one outage of 15 min takes more than 30 days' budget of 99.99 %")
	}
	near(t, "outage's share", &s.Targets.OutageShare, 900/259.2, 1e-9)
}

// TestResponse holds the times of the fault, and whom it hit.
func TestResponse(t *testing.T) {
	t.Parallel()
	s := usual(t)
	r := s.Responses[0]
	near(t, "T0", r.T[0], 40, 0)
	near(t, "T1", r.T[1], 42, 0) // the end of the first window in which it shows
	near(t, "T6", r.T[6], 72, 0) // of the first of three good ones
	near(t, "T7", r.T[7], 74, 0)
	near(t, "RTO", r.RTO, 30, 0)
	near(t, "rows lost", r.RPORows, 0, 0)
	near(t, "RPO", r.RPO, 0, 0)
	if r.T[2] != nil || r.T[3] != nil || r.T[5] != nil {
		t.Errorf("nobody alerted, acknowledged or mitigated: %v", r.T)
	}
	hit := map[string]bool{}
	for _, b := range append(slices.Clone(r.Regions), r.Rooms...) {
		hit[b.Name] = b.Hit
		if b.Name == "north" {
			near(t, "sessions in the north", &b.Sessions, 0.8, 1e-9)
		}
	}
	for name, want := range map[string]bool{"north": true, "south": false, "room-0": true, "room-1": false} {
		if got, known := hit[name]; !known || got != want {
			t.Errorf("%s hit: %v (known: %v), want %v", name, got, known, want)
		}
	}
}

// TestLostWrites has gifts that were acknowledged and never came to the ledger.
func TestLostWrites(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.LostGifts = 7
	s := judged(t, story)
	for _, c := range s.Consistency {
		if c.Check == "gift-ledger" && c.OK {
			t.Errorf("gifts that are not in the ledger pass its proof: %s", c.Detail)
		}
	}
	for _, c := range usual(t).Consistency {
		if c.Check == "gift-ledger" && !c.OK {
			t.Errorf("a whole ledger does not pass its proof: %s", c.Detail)
		}
	}
	r := s.Responses[0]
	near(t, "rows lost", r.RPORows, 7, 0)
	near(t, "age of the oldest", r.RPO, 4, 0) // two gifts a second, read each second
}

// TestTable holds some cells of the table by phase and region.
func TestTable(t *testing.T) {
	t.Parallel()
	s := usual(t)
	for _, want := range []struct {
		sli, phase, region string
		value, n           float64
	}{
		{"api_error_ratio", "fault", "north", 1200.0 / 3240, 3240}, {"api_error_ratio", "fault", "south", 0, 840}, {"stall_ratio", "steady", "all", 0, 400},
		{"danmaku_accept_ratio", "run", "all", 1 - 1200.0/11000, 11000},
	} {
		at := slices.IndexFunc(s.Table, func(c reports.Cell) bool {
			return c.SLI == want.sli && c.Phase == want.phase && c.Region == want.region
		})
		if at < 0 {
			t.Errorf("no cell for %+v", want)
			continue
		}
		near(t, want.sli, s.Table[at].Value, want.value, 1e-9)
		near(t, want.sli+" n", &s.Table[at].N, want.n, 0)
	}
	if len(s.Core) != 13 {
		t.Errorf("%d core metrics", len(s.Core))
	}
	if !slices.ContainsFunc(s.NotMeasured, func(u reports.Unknown) bool { return u.What == "memory in use" }) {
		t.Errorf("a core metric that nobody offers is not said to be missing: %v", s.NotMeasured)
	}
}

// TestArms has an A/B run whose b is as fast as a, and one whose b is a third slower.
func TestArms(t *testing.T) {
	t.Parallel()
	for slow, want := range map[float64]string{1: "same", 1.33: "worse", 0.7: "better"} {
		story := reportstest.Usual()
		story.Hurt, story.Slow, story.SlowB, story.Steady = 0, 0.01, slow, 120
		arms := judged(t, story).Arms
		if arms == nil || math.Abs(arms.Share.Value-0.3*100/(130+2)) > 0.001 {
			t.Fatalf("b had %+v", arms)
		}
		for _, r := range arms.Rows {
			if r.SLI == "api_latency_seconds" && r.Point == "p50" && (r.Verdict != want || r.Change == nil || math.Abs(*r.Change-(slow-1)) > 0.06) {
				t.Errorf("b %g times as slow: %s, %v within %v to %v, want %s", slow, r.Verdict, deref(r.Change), deref(r.Low), deref(r.High), want)
			}
			if r.SLI == "api_error_ratio" && r.Verdict != "same" {
				t.Errorf("errors are %s: %v to %v", r.Verdict, deref(r.Low), deref(r.High))
			}
		}
	}
	if arms := usual(t).Arms; arms != nil {
		t.Errorf("a run with one version has arms: %+v", arms)
	}
}

const rules = `groups:
  - name: g
    interval: 1s
    rules:
      - record: errors:rate
        expr: sum(rate(livedrill_api_requests_total{outcome="error"}[5s]))
      - {alert: Errors, expr: 'errors:rate > 5', for: 3s, labels: {severity: P1}}
      - {alert: SlowToFire, expr: 'errors:rate > 5', for: 10m}
      - {alert: Never, expr: 'errors:rate > 1e9'}
      - {alert: Always, expr: 'vector(1)'}
`

// TestAlerts runs rules over the story: errors begin at 41 s, the rate is above its limit from then on, and 3 s later it fires.
func TestAlerts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		rules   reports.AlertRules
		verdict reports.Verdict
		states  map[string]string
	}{
		{"as expected", reports.AlertRules{Expect: []string{"Errors"}, Silent: []string{"Never"}}, reports.Passed,
			map[string]string{"Errors": reports.AlertOK, "Never": reports.AlertSilent, "Always": reports.AlertFired, "SlowToFire": reports.AlertSilent}},
		{"missed", reports.AlertRules{Expect: []string{"Never"}}, reports.RunMissed, map[string]string{"Never": reports.AlertMissed}},
		{"false alarm", reports.AlertRules{Silent: []string{"Errors"}}, reports.RunMissed, map[string]string{"Errors": reports.AlertFalse}},
		{"too short a run", reports.AlertRules{Expect: []string{"SlowToFire"}}, reports.Inconclusive, map[string]string{"SlowToFire": reports.AlertOpen}},
		{"fires before anything is broken", reports.AlertRules{Expect: []string{"Always"}}, reports.RunMissed, map[string]string{"Always": reports.AlertMissed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			story := reportstest.Usual()
			story.Change = func(f *reports.Facts) {
				f.Alerts = c.rules
				f.Alerts.Files = map[string]string{"rules.yaml": rules}
				f.Objectives = f.Objectives[2:3]
			}
			s := judged(t, story)
			if s.Verdict != c.verdict {
				t.Errorf("the run is %s: %v", s.Verdict, s.Reasons)
			}
			for _, a := range s.Alerts {
				if want, ok := c.states[a.Name]; ok && a.State != want {
					t.Errorf("%s is %s (%s), want %s", a.Name, a.State, a.Why, want)
				}
				if a.Name == "Errors" {
					near(t, "fired", a.Fired, 44, 1.01)
					near(t, "after the injection", a.AfterT0, 4, 1.01)
				}
			}
			if r := s.Responses[0]; c.name == "as expected" && (r.T[2] == nil || r.Detect != nil) {
				t.Errorf("T2 is %v; no objective of this run was hurt, so nothing was there to be detected: %v", deref(r.T[2]), deref(r.Detect))
			}
		})
	}
}

// TestVerdictOrder holds what comes before what.
func TestVerdictOrder(t *testing.T) {
	t.Parallel()
	keep := func(n ...int) func(*reports.Facts) {
		return func(f *reports.Facts) {
			var kept []reports.Objective
			for _, i := range n {
				kept = append(kept, f.Objectives[i])
			}
			f.Objectives = kept
		}
	}
	both := func(a, b func(*reports.Facts)) func(*reports.Facts) { return func(f *reports.Facts) { a(f); b(f) } }
	state := func(s string) func(*reports.Facts) { return func(f *reports.Facts) { f.Faults[0].State = s } }
	faded := func(f *reports.Facts) { f.Faults[0].Faded = "as told" }
	acted := func(after float64) func(*reports.Facts) {
		return func(f *reports.Facts) {
			f.Remarks = []reports.Remark{{At: *f.Faults[0].Injected + after, By: "ana", What: reports.SaidAction, Text: "restarted it"}}
		}
	}
	objective := func(text string) func(*reports.Facts) {
		return func(f *reports.Facts) {
			o, err := reports.ParseObjective(text)
			if err != nil {
				t.Fatal(err)
			}
			f.Objectives = append(f.Objectives, o)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*reports.Facts)
		want   reports.Verdict
		code   int
	}{
		{"all met", keep(2, 3), reports.Passed, 0},
		{"nothing asked", keep(), reports.Inconclusive, 4},
		{"one not provable", both(keep(2), objective("danmaku_accept_ratio >= 99.99% during recovery")), reports.Inconclusive, 4},
		{"one not measured", both(keep(2), objective("push_success_ratio >= 99%")), reports.Inconclusive, 4},
		{"missed and not measured", both(keep(0), objective("push_success_ratio >= 99%")), reports.RunMissed, 3},
		{"a fault without effect", both(keep(2), state("not-injected")), reports.Inconclusive, 4},
		{"a fault without effect, and missed", both(keep(0), state("not-injected")), reports.Inconclusive, 4},
		{"a fault that faded", both(keep(2), faded), reports.Inconclusive, 4},
		{"a fault that faded, and missed", both(keep(0), faded), reports.RunMissed, 3},
		{"a fault that somebody healed", both(keep(2), both(faded, acted(1))), reports.Passed, 0},
		{"a fault that faded before anybody did anything", both(keep(2), both(faded, acted(100))), reports.Inconclusive, 4},
		{"a fault that stayed", both(keep(2), state("not-restored")), reports.Unrestored, 5},
		{"interrupted", both(keep(2), func(f *reports.Facts) { f.Interrupted = true }), reports.Interrupted, 130},
		{"something went wrong", both(keep(2), func(f *reports.Facts) { f.Problems = []string{"x"} }), reports.Inconclusive, 4},
		{"no phase was reached", func(f *reports.Facts) { f.Phases = nil }, reports.Inconclusive, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			story := reportstest.Usual()
			story.Change = c.change
			if s := judged(t, story); s.Verdict != c.want || s.ExitCode() != c.code {
				t.Errorf("%s with exit code %d, want %s with %d: %v", s.Verdict, s.ExitCode(), c.want, c.code, s.Reasons)
			}
		})
	}
}

// TestDamage takes a run apart in every way: what can be said is said, and never a wrong verdict.
func TestDamage(t *testing.T) {
	t.Parallel()
	good := reportstest.Short()
	good.Change = func(f *reports.Facts) { f.Objectives = f.Objectives[2:3] }
	for _, c := range []struct {
		name    string
		spoil   func(t *testing.T, dir string)
		refused bool
		says    string
	}{
		{"whole", func(*testing.T, string) {}, false, ""},
		{"empty directory", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)); must(t, os.Mkdir(dir, 0o700)) }, true, ""},
		{"facts are torn", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, "facts.json")) }, true, ""},
		{"facts of a later version", func(t *testing.T, dir string) { edit(t, dir, `livedrill.facts/v1`, `livedrill.facts/v9`) }, true, ""},
		{"facts changed after the fact", func(t *testing.T, dir string) { edit(t, dir, `"threshold": 0.5`, `"threshold": 0.9`) }, false, "facts.json was changed after the run"},
		{"scenario removed", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "scenario.yaml"))) }, false, "scenario.yaml is missing from the record"},
		{"half copied, without its manifest", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "MANIFEST.sha256")))
			truncate(t, filepath.Join(dir, "tsdb", "wal", "00000000"))
		}, false, "there is no manifest"},
		{"a pipe for a manifest", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "MANIFEST.sha256")))
			must(t, syscall.Mkfifo(filepath.Join(dir, "MANIFEST.sha256"), 0o600))
		}, true, ""},
		{"a manifest that is none", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "MANIFEST.sha256"), []byte("all is well\n"), 0o600))
		}, false, `MANIFEST.sha256: the line "all is well" is no sum`},
		{"a manifest with a line twice, in another system's form", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "MANIFEST.sha256")
			text, err := os.ReadFile(path)
			must(t, err)
			first, _, _ := strings.Cut(string(text), "\n")
			must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text)+first+"\n", "\n", "\r\n")), 0o600))
		}, false, ""},
		{"a manifest with garbage behind it", func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, "MANIFEST.sha256"), os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString(strings.Repeat("garbage\n", 1000))
			must(t, err)
			must(t, f.Close())
		}, false, "980 more of this kind"},
		{"rules added", func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, "alerts"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "alerts", "more.yaml"), []byte("groups: []\n"), 0o600))
		}, false, "alerts/more.yaml was added to the record after the run"},
		{"time series gone", func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, "tsdb"))) }, true, ""},
		{"time series torn", func(t *testing.T, dir string) {
			files, err := filepath.Glob(filepath.Join(dir, "tsdb", "wal", "0*"))
			if err != nil || len(files) == 0 {
				t.Fatal("no write-ahead log", err)
			}
			truncate(t, files[0])
		}, false, "was changed after the run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := good.Write(t)
			must(t, reports.WriteManifest(dir))
			c.spoil(t, dir)
			s, err := reports.Judge(t.Context(), dir)
			if (err != nil) != c.refused {
				t.Fatalf("judged with error %v", err)
			}
			if err != nil {
				return
			}
			if want := map[bool]reports.Verdict{true: reports.Passed, false: reports.Inconclusive}[c.says == ""]; s.Verdict != want || s.Damaged != (c.says != "") {
				t.Errorf("it is %s, damaged %v: %v", s.Verdict, s.Damaged, s.Reasons)
			}
			if !strings.Contains(strings.Join(s.Reasons, "\n"), c.says) {
				t.Errorf("the reasons do not say %q: %v", c.says, s.Reasons)
			}
		})
	}
	t.Run("its documents were edited", func(t *testing.T) {
		dir := good.Write(t)
		for _, name := range []string{"result.json", "report.html"} {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte("passed"), 0o600))
		}
		must(t, reports.WriteManifest(dir))
		_, err := reports.ReadDocument(dir, "result.json")
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "result.json"), []byte("missed"), 0o600))
		must(t, os.Remove(filepath.Join(dir, "report.html")))
		s, err := reports.Judge(t.Context(), dir)
		must(t, err)
		notes := strings.Join(s.Notes, "\n")
		if s.Verdict != reports.Passed || s.Damaged || !strings.Contains(notes, "result.json was changed after the run") || !strings.Contains(notes, "report.html is missing") {
			t.Errorf("it is %s, damaged %v, notes %v", s.Verdict, s.Damaged, s.Notes)
		}
		was := fmt.Sprintf("%x", sha256.Sum256([]byte("passed")))
		if !slices.Contains(s.Evidence, reports.Evidence{File: "result.json", SHA256: was}) {
			t.Error("the evidence is not as the manifest has it")
		}
		if _, err := reports.ReadDocument(dir, "result.json"); err == nil {
			t.Error("an edited result is taken for the run's own")
		}
	})
	t.Run("somebody's Prometheus wrote to it", func(t *testing.T) {
		dir := good.Write(t)
		must(t, reports.WriteManifest(dir))
		db, err := record.OpenDatabase(filepath.Join(dir, "tsdb"))
		must(t, err)
		m := record.NewMetrics()
		m.Counter("livedrill_player_stalled_seconds_total", "x", prometheus.Labels{"region": "north", "load": "viewers"}).Add(1e6)
		families, err := m.Gather()
		must(t, err)
		must(t, db.Put(t.Context(), good.Started.Add(30*time.Second), "intruder", families))
		must(t, db.Close())
		s, err := reports.Judge(t.Context(), dir)
		must(t, err)
		if s.Verdict != reports.Passed || s.Damaged || !strings.Contains(strings.Join(s.Notes, "\n"), "files that are not of the run, and were not read: ") {
			t.Errorf("it is %s, damaged %v: %v, notes %v", s.Verdict, s.Damaged, s.Reasons, s.Notes)
		}
	})
	t.Run("a run that died", func(t *testing.T) {
		story := reportstest.Usual()
		story.Change = func(f *reports.Facts) {
			f.Finished, f.Phases, f.Faults, f.Windows = false, f.Phases[:2], nil, nil
			f.Run.Duration = 0
		}
		s := judged(t, story)
		if s.Verdict != reports.Inconclusive || !s.Damaged || len(s.Loads) != 1 || s.Loads[0].Offered != 3000 {
			t.Errorf("%s, damaged %v, loads %+v: %v", s.Verdict, s.Damaged, s.Loads, s.Reasons)
		}
		for _, o := range s.Objectives {
			if o.SLI == "ledger_mismatches" && o.Verdict != reports.NotMeasured {
				t.Errorf("books that were never settled are %s: %s", o.Verdict, o.Why)
			}
		}
		for _, c := range s.Consistency {
			if c.OK || !strings.Contains(c.Detail, "died") {
				t.Errorf("%s: %v, %s", c.Check, c.OK, c.Detail)
			}
		}
	})
	t.Run("a record with nothing in it", func(t *testing.T) {
		story := reportstest.Usual()
		story.Change = func(f *reports.Facts) {
			f.Verify = reports.CheckNames()
			f.Alerts = reports.AlertRules{Silent: []string{"Never"}, Files: map[string]string{"r.yaml": "groups: [{name: g, rules: [{alert: Never, expr: 'absent(up) > 2'}]}]"}}
		}
		dir := story.Write(t)
		must(t, os.RemoveAll(filepath.Join(dir, "tsdb", "wal")))
		s, err := reports.Judge(t.Context(), dir)
		must(t, err)
		if s.Verdict != reports.Inconclusive || s.Loads[0].State == "valid" || s.Alerts[0].State != reports.AlertOpen {
			t.Errorf("it is %s, its load %s, its alert %s", s.Verdict, s.Loads[0].State, s.Alerts[0].State)
		}
		for _, c := range s.Consistency {
			if c.OK {
				t.Errorf("%s holds: %s", c.Check, c.Detail)
			}
		}
	})
}

// TestHealth makes each sign worse, step by step: the score is 100 less what the sign takes, and never rises.
func TestHealth(t *testing.T) {
	t.Parallel()
	pressure := func(of string) string {
		return fmt.Sprintf("livedrill_machine_pressure_seconds_total{resource=%q}", of)
	}
	for _, c := range []struct {
		sign   string
		values []float64
		scores []float64
	}{
		{pressure("cpu"), []float64{0, 0.5, 1}, []float64{100, 90, 80}},
		{pressure("memory"), []float64{0, 0.02, 0.3}, []float64{100, 84, 20}},
		{pressure("io"), []float64{0, 0.25, 1}, []float64{100, 75, 50}},
		{"livedrill_machine_stolen_seconds_total", []float64{0, 0.2, 0.4}, []float64{100, 75, 50}}, // of two cores
		{"livedrill_machine_temperature_ratio", []float64{0.7, 0.9, 1}, []float64{100, 50, 0}},
		{"livedrill_machine_throttled_total", []float64{0, 1. / 12, 1}, []float64{100, 75, 50}},
		{"livedrill_machine_memory_corrected_total", []float64{0, 1. / 120, 1}, []float64{100, 75, 50}},
		{"livedrill_machine_memory_uncorrected_total", []float64{0, 1. / 12000, 1}, []float64{100, 50, 0}},
		{"livedrill_card_temperature_ratio", []float64{0.5, 0.95, 1.02}, []float64{100, 75, 50}},
		{"livedrill_card_throttled_seconds_total", []float64{0, 0.25, 1}, []float64{100, 75, 50}},
		{"livedrill_card_power_ratio", []float64{0.9, 0.975, 1.1}, []float64{100, 90, 80}},
		{"livedrill_card_memory_corrected_total", []float64{0, 1. / 120, 1}, []float64{100, 85, 70}},
		{"livedrill_card_memory_uncorrected_total", []float64{0, 1. / 12000, 1}, []float64{100, 50, 0}},
		{"livedrill_disk_worn_ratio", []float64{0.1, 0.9, 1.3}, []float64{100, 75, 50}},
		{"livedrill_disk_failing", []float64{0, 1}, []float64{100, 0}},
	} {
		t.Run(c.sign, func(t *testing.T) {
			t.Parallel()
			for i, v := range c.values {
				story := reportstest.Short()
				story.Signs = map[string]float64{c.sign: v}
				h := judged(t, story).Health
				if h == nil {
					t.Fatal("there is none")
				}
				near(t, fmt.Sprintf("score at %g", v), &h.Score, c.scores[i], 0.02)
				measured := 0
				for _, s := range h.Signs {
					if s.Value != nil {
						measured++
					}
				}
				if measured != 1 || len(h.Signs) != 15 {
					t.Errorf("%d of %d signs were measured", measured, len(h.Signs))
				}
			}
		})
	}
}

// TestNotTheFaultsDoing judges a limit that did not hold before the fault either: the fault is not blamed for it.
func TestNotTheFaultsDoing(t *testing.T) {
	t.Parallel()
	story := reportstest.Usual()
	story.Change = func(f *reports.Facts) {
		o, err := reports.ParseObjective("api_latency_seconds p99 <= 1ms")
		must(t, err)
		f.Objectives = append(f.Objectives, o)
	}
	s := judged(t, story)
	name := s.Objectives[len(s.Objectives)-1].Name
	if last := s.Objectives[len(s.Objectives)-1]; last.Verdict != reports.Missed || len(s.Impact) == 0 {
		t.Fatalf("%s is %s, and %d others are hurt", name, last.Verdict, len(s.Impact))
	}
	for _, i := range s.Impact {
		if i.Objective == name {
			t.Errorf("%s is said to have hurt it: %+v", i.Fault, i)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, info.Size()/2))
}

func edit(t *testing.T, dir, from, to string) {
	t.Helper()
	path := filepath.Join(dir, "facts.json")
	text, err := os.ReadFile(path)
	must(t, err)
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s is not in the facts", from)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600))
}

// TestResultIsContract holds the keys of result.json that others read.
func TestResultIsContract(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(usual(t).Result)
	must(t, err)
	var r map[string]any
	must(t, json.Unmarshal(text, &r))
	for path, keys := range map[string]string{
		"":             "schema run verdict reasons phases loads faults objectives impact alerts consistency",
		"run":          "id scenario scenario_sha256 seed profile time_scale started duration_s version machine",
		"run.machine":  "cores memory_bytes kernel root gpu",
		"phases.0":     "name from_s to_s",
		"loads.0":      "name kind offered achieved failed rate_offered rate_achieved late_p99_ms cpu_s state",
		"faults.0":     "id kind on settings back_end injected_s effective_s restored_s clean_s asked measured state",
		"objectives.0": "name sli phase op threshold unit measured low high n verdict expr",
		"impact.0":     "fault objective detected_after_s whole_after_s worst",
	} {
		at := any(r)
		for _, part := range strings.FieldsFunc(path, func(c rune) bool { return c == '.' }) {
			if list, ok := at.([]any); ok {
				at = list[0]
				continue
			}
			at = at.(map[string]any)[part]
		}
		if list, ok := at.([]any); ok {
			at = list[0]
		}
		for _, key := range strings.Fields(keys) {
			if _, ok := at.(map[string]any)[key]; !ok {
				t.Errorf("result.json lacks %s.%s", path, key)
			}
		}
	}
}

func TestObjectiveForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"push_success_ratio >= 99.9%":             "push_success_ratio >= 0.999 during run",
		"stall_ratio<=2% during fault":            "stall_ratio <= 0.02 during fault",
		"e2e_latency_seconds p95 <= 6s during f1": "e2e_latency_seconds p95 <= 6s during f1",
		"danmaku_delivery_seconds p99.9 < 250ms":  "danmaku_delivery_seconds p99.9 < 250ms during run",
		"ledger_mismatches == 0":                  "ledger_mismatches == 0 during run",
		"stall_ratio <= 200%":                     "",
		"stall_ratio <= 2s":                       "",
		"stall_ratio p95 <= 2%":                   "",
		"e2e_latency_seconds p95 <= 6":            "",
		"e2e_latency_seconds p100 <= 6s":          "",
		"stall_ratio <= nan%":                     "",
		"ledger_mismatches == NaN":                "",
		"nothing":                                 "",
	} {
		o, err := reports.ParseObjective(text)
		if (err == nil) != (want != "") || err == nil && o.String() != want {
			t.Errorf("%q became %q (%v), want %q", text, o.String(), err, want)
		}
	}
}

func FuzzObjective(f *testing.F) {
	f.Add("e2e_latency_seconds p95 <= 6s during f1")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := reports.ParseObjective(text)
		if err != nil {
			return
		}
		if again, err := reports.ParseObjective(o.String()); err != nil || again.Threshold != o.Threshold && math.Abs(again.Threshold-o.Threshold) > 1e-9 {
			t.Errorf("%q is written as %q, which reads as %+v (%v)", text, o.String(), again, err)
		}
	})
}

// TestTraces: of each fault the report shows the request and the picture that name the hop in which it was felt.
func TestTraces(t *testing.T) {
	t.Parallel()
	got := map[string]reports.Trace{}
	for _, x := range usual(t).Traces {
		got[x.What] = x
	}
	for what, want := range map[string]reports.Trace{reports.FailedRequest: {Hop: "redis", Why: "no answer", Alike: 7, Of: 7, Took: 0.02},
		reports.SlowestPicture: {Hop: "edge-north", Why: "5.00 s longer there than 95 % of the steady phase", Alike: 7, Of: 7, Took: 6}} {
		x := got[what]
		if x.Fault != "f1" || x.Hop != want.Hop || x.Why != want.Why || x.Alike != want.Alike || x.Of != want.Of || math.Abs(x.Took-want.Took) > 1e-6 {
			t.Errorf("%s: %+v", what, x)
		}
	}
	if len(got) != 2 {
		t.Errorf("%d traces", len(got))
	}
}

// TestModels: two connections of which one is in use on average have a third of a request waiting; in the story half a one waits.
func TestModels(t *testing.T) {
	t.Parallel()
	all := usual(t).Models
	if len(all) != 2 || all[0].During != "steady" || all[1].During != "f1" {
		t.Fatalf("%+v", all)
	}
	near(t, "load", &all[0].Load, 1, 1e-9)
	near(t, "predicted", all[0].Predicted, 1.0/3, 1e-9)
	near(t, "measured", all[0].Measured, 0.5, 1e-9)
	near(t, "error", all[0].Error, -1.0/6, 1e-9)
}
