package reports

import (
	"context"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
)

// played is a run whose numbers are known: it is written as a range writes one, and judged as any other.
func played(t *testing.T, change func(*Facts)) (Result, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "livedrill")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithCancel(t.Context())
	m := record.NewMetrics()
	labels := func(more ...string) prometheus.Labels {
		l := prometheus.Labels{"load": "chat", "region": "north"}
		for i := 0; i < len(more); i += 2 {
			l[more[i]] = more[i+1]
		}
		return l
	}
	accepted := m.Counter("livedrill_danmaku_published_total", "x", labels("result", "accepted"))
	rejected := m.Counter("livedrill_danmaku_published_total", "x", labels("result", "rejected"))
	latency := m.Histogram("livedrill_api_latency_seconds", "x", labels("route", "room"))
	due := m.Counter("livedrill_danmaku_due_total", "x", labels())
	offered := m.Counter("livedrill_load_offered_total", "x", labels())
	achieved := m.Counter("livedrill_load_achieved_total", "x", labels())
	m.Counter("livedrill_load_failed_total", "x", labels())
	m.Histogram("livedrill_load_lateness_seconds", "x", labels())
	served := make(chan error)
	go func() {
		served <- m.Serve(ctx, filepath.Join(dir, "s"), http.NewServeMux(), func(context.Context) error { return nil })
	}()
	t.Cleanup(func() { cancel(); <-served })
	db, err := record.OpenDatabase(filepath.Join(dir, "tsdb"))
	if err != nil {
		t.Fatal(err)
	}
	scraper := record.NewScraper(db)
	scraper.Add("load-chat-north", filepath.Join(dir, "s"))
	started := time.Now().Add(-time.Second).Truncate(time.Millisecond)
	boundary := func() float64 {
		at, err := scraper.Scrape(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return at.Sub(started).Seconds()
	}
	for range 100 { // the socket may not be there yet
		if _, err := os.Stat(filepath.Join(dir, "s")); err == nil {
			break
		}
		wait(t, 10*time.Millisecond)
	}
	f := Facts{Run: Run{Scenario: "known", Profile: "weak", Started: started}, Windows: map[string]Window{},
		Workloads: []Workload{{"chat", "danmaku"}}}
	begin := boundary()
	accepted.Add(1000) // warm-up and steady: what a phase must not count
	for range 500 {
		latency.Observe(5)
	}
	steady := boundary()
	accepted.Add(970)
	rejected.Add(20) // and ten without an answer
	due.Add(1000)
	offered.Add(1000)
	achieved.Add(1000)
	for i := range 1000 {
		latency.Observe(float64(i+1) / 1000) // 1 ms to 1 s: p50 is 0.5 s, p99 0.99 s
	}
	fault := boundary()
	accepted.Add(500)
	due.Add(500)
	end := boundary()
	f.Phases = []Phase{{"warm-up", begin, steady}, {"fault", steady, fault}, {"recovery", fault, end}}
	f.Faults = []Fault{{ID: "f1", Kind: "redis.oom", On: "redis", Injected: &steady, State: "restored"}}
	f.Windows["f1"] = Window{steady, fault}
	f.Run.Duration = end
	for _, text := range []string{"danmaku_accept_ratio >= 90% during fault", "danmaku_accept_ratio >= 99% during redis.oom",
		"danmaku_accept_ratio >= 97% during f1", "danmaku_accept_ratio >= 99.99% during recovery", "api_latency_seconds p50 <= 1s during fault",
		"api_latency_seconds p99 <= 500ms during fault", "stall_ratio <= 1%"} {
		o, err := ParseObjective(text)
		if err != nil {
			t.Fatal(err)
		}
		f.Objectives = append(f.Objectives, o)
	}
	if change != nil {
		change(&f)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	scraper.Close()
	if err := f.Write(dir); err != nil {
		t.Fatal(err)
	}
	d, err := Finish(t.Context(), dir, "en")
	if err != nil {
		t.Fatal(err)
	}
	return d.Result, dir
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// TestKnownAnswers judges the run and holds every number against what was put in.
func TestKnownAnswers(t *testing.T) {
	r, _ := played(t, nil)
	for i, want := range []struct {
		measured, tolerance, n float64
		verdict                Verdict
	}{
		{0.97, 1e-9, 1000, Met},
		{0.97, 1e-9, 1000, Missed},
		{0.97, 1e-9, 1000, NotProvable}, // exactly at the limit: the interval holds it
		{1, 1e-9, 500, NotProvable},     // 500 without a failure prove 99.4 %, not 99.99 %
		{0.5, 0.5 * 0.022, 1000, Met},
		{0.99, 0.99 * 0.022, 1000, Missed},
		{math.NaN(), 0, 0, NotMeasured},
	} {
		o := r.Objectives[i]
		if o.Verdict != want.verdict || o.N != want.n {
			t.Errorf("%s: %s with n %g, want %s with %g", o.Name, o.Verdict, o.N, want.verdict, want.n)
		}
		if want.n > 0 && (o.Measured == nil || math.Abs(*o.Measured-want.measured) > want.tolerance) {
			t.Errorf("%s: measured %v, want %g", o.Name, o.Measured, want.measured)
		}
		if want.n > 0 && (o.Low == nil || *o.Low > *o.Measured || o.High != nil && *o.High < *o.Measured) {
			t.Errorf("%s: bounds %v to %v do not hold %v", o.Name, o.Low, o.High, *o.Measured)
		}
	}
	if r.Verdict != RunMissed || r.ExitCode() != 3 {
		t.Errorf("the run is %s, exit code %d", r.Verdict, r.ExitCode())
	}
}

// TestVerdictOrder holds what comes before what.
func TestVerdictOrder(t *testing.T) {
	keep := func(n ...int) func(*Facts) {
		return func(f *Facts) {
			var kept []Objective
			for _, i := range n {
				kept = append(kept, f.Objectives[i])
			}
			f.Objectives = kept
		}
	}
	both := func(a, b func(*Facts)) func(*Facts) { return func(f *Facts) { a(f); b(f) } }
	state := func(s string) func(*Facts) { return func(f *Facts) { f.Faults[0].State = s } }
	for _, c := range []struct {
		name   string
		change func(*Facts)
		want   Verdict
		code   int
	}{
		{"all met", keep(0, 4), Passed, 0},
		{"nothing asked", keep(), Inconclusive, 4},
		{"one not provable", keep(0, 3), Inconclusive, 4},
		{"one not measured", keep(0, 6), Inconclusive, 4},
		{"missed and not provable", keep(1, 3), RunMissed, 3},
		{"a fault without effect", both(keep(0), state("not-injected")), Inconclusive, 4},
		{"a fault without effect, and missed", both(keep(1), state("not-injected")), Inconclusive, 4},
		{"a fault that stayed", both(keep(0), state("not-restored")), Unrestored, 5},
		{"interrupted", both(keep(0), func(f *Facts) { f.Interrupted = true }), Interrupted, 130},
		{"something went wrong", both(keep(0), func(f *Facts) { f.Problems = []string{"x"} }), Inconclusive, 4},
		{"no phase was reached", func(f *Facts) { f.Phases = nil }, Inconclusive, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r, _ := played(t, c.change); r.Verdict != c.want || r.ExitCode() != c.code {
				t.Errorf("%s with exit code %d, want %s with %d: %v", r.Verdict, r.ExitCode(), c.want, c.code, r.Reasons)
			}
		})
	}
}

// TestStoredRunIsJudgedTheSame judges the run again from its directory.
func TestStoredRunIsJudgedTheSame(t *testing.T) {
	first, dir := played(t, nil)
	for _, f := range Formats {
		d, err := Open(t.Context(), dir, "zh")
		if err != nil {
			t.Fatal(err)
		}
		if d.Verdict != first.Verdict || len(d.Objectives) != len(first.Objectives) {
			t.Errorf("judged again it is %s", d.Verdict)
		}
		out, err := os.CreateTemp(t.TempDir(), "out")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Write(out, d); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		if info, err := out.Stat(); err != nil || info.Size() < 100 {
			t.Errorf("%s wrote next to nothing (%v)", f.Name, err)
		}
		out.Close()
	}
	if _, err := Open(t.Context(), t.TempDir(), "en"); err == nil {
		t.Error("an empty directory was judged")
	}
}

func TestObjectiveForms(t *testing.T) {
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
		o, err := ParseObjective(text)
		if (err == nil) != (want != "") || err == nil && o.String() != want {
			t.Errorf("%q became %q (%v), want %q", text, o.String(), err, want)
		}
	}
}

func FuzzObjective(f *testing.F) {
	f.Add("e2e_latency_seconds p95 <= 6s during f1")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseObjective(text)
		if err != nil {
			return
		}
		if again, err := ParseObjective(o.String()); err != nil || again.Threshold != o.Threshold && math.Abs(again.Threshold-o.Threshold) > 1e-9 {
			t.Errorf("%q is written as %q, which reads as %+v (%v)", text, o.String(), again, err)
		}
	})
}
