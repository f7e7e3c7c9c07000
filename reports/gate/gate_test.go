package gate_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/documents"
	"github.com/livedrill/livedrill/reports/gate"
	"github.com/livedrill/livedrill/reports/reportstest"
)

// drawn makes runs of one version on a shared machine: what the machine does at a time is common to both sides of a pair.
func drawn(rng *rand.Rand, shared []float64, change map[string]float64) []gate.Run {
	var out []gate.Run
	for i, s := range shared {
		r := gate.Run{ID: fmt.Sprint("run-", i), Scenario: "x", Machine: "m", Metrics: map[string]float64{}, Events: map[string]float64{}}
		for k, m := range gate.Metrics {
			switch {
			case m.Absolute: // one in a thousand fails, of few events and of many
				n := []float64{30, 300, 3000, 100_000}[k%4]
				failed := 0.0
				for at := rng.ExpFloat64(); at < n/1000; at += rng.ExpFloat64() {
					failed++
				}
				r.Metrics[m.Name], r.Events[m.Name] = failed/n, n
				if m.HigherIsBetter {
					r.Metrics[m.Name] = 1 - failed/n
				}
			default:
				noise := 0.025 // what shared machines vary by
				if strings.Contains(m.Name, "p99") {
					noise = 0.04
				}
				r.Metrics[m.Name] = 0.1 * math.Exp(s+noise*rng.NormFloat64()) * (1 + change[m.Name])
			}
		}
		out = append(out, r)
	}
	return out
}

func machine(rng *rand.Rand, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = 0.03 * rng.NormFloat64()
	}
	return out
}

// TestFalseAlarms compares runs of one version with each other, 200 times with all 23 metrics at once.
func TestFalseAlarms(t *testing.T) {
	t.Parallel()
	for _, paired := range []bool{true, false} {
		rng := rand.New(rand.NewPCG(1, 1))
		alarms := 0
		for range 200 {
			shared := machine(rng, 10)
			a := drawn(rng, shared, nil)
			if !paired {
				shared = machine(rng, 10)
			}
			if gate.CompareOnly(a, drawn(rng, shared, nil), paired, gate.Metrics).Verdict == gate.Worse {
				alarms++
			}
		}
		t.Logf("paired %v: %d false alarms in 200 comparisons", paired, alarms)
		if alarms > 10 {
			t.Errorf("paired %v: %d false alarms in 200 comparisons", paired, alarms)
		}
	}
}

// TestPlantedRegression makes P99 or the processor's use 10 % worse, in ten pairs, 100 times each.
func TestPlantedRegression(t *testing.T) {
	t.Parallel()
	for _, metric := range []string{"api_latency_seconds p99", "platform_cores"} {
		rng := rand.New(rand.NewPCG(2, 2))
		caught, blamed := 0, 0
		for range 100 {
			shared := machine(rng, 10)
			r := gate.CompareOnly(drawn(rng, shared, nil), drawn(rng, shared, map[string]float64{metric: 0.10}), true, gate.Metrics)
			for _, j := range r.Metrics {
				if j.Verdict == gate.Worse && j.Metric == metric && r.ExitCode() == 3 {
					caught++
				} else if j.Verdict == gate.Worse {
					blamed++
				}
			}
		}
		t.Logf("%s: caught %d of 100, %d others blamed", metric, caught, blamed)
		if caught < 95 || blamed > 5 {
			t.Errorf("%s: caught %d of 100, %d others blamed", metric, caught, blamed)
		}
	}
}

// TestSelfCheck looks at twenty runs of one version, and at runs that are none.
func TestSelfCheck(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	runs := drawn(rng, make([]float64, 20), nil)
	for _, paired := range []bool{false, true} {
		s, err := gate.Check(runs, paired, gate.Metrics, 200, 100, "platform_cores", 0.10)
		if err != nil || s.FalseAlarms > 10 || s.Caught < 95 {
			t.Errorf("%+v (%v)", s, err)
		}
	}
	if _, err := gate.Check(runs[:5], false, gate.Metrics, 200, 100, "platform_cores", 0.10); err == nil {
		t.Error("five runs were split")
	}
	if _, err := gate.Check(runs[:6], true, gate.Metrics, 200, 100, "platform_cores", 0.10); err == nil {
		t.Error("three pairs, which never decide, were taken")
	}
	if _, err := gate.Check(runs, false, gate.Metrics[:1], 200, 100, "platform_cores", 0.10); err == nil {
		t.Error("a metric that is not compared was planted")
	}
	if _, err := gate.Check(runs, false, gate.Metrics, 200, 100, "no such metric", 0.10); err == nil {
		t.Error("a metric that does not exist was planted")
	}
}

// TestVerdicts holds one verdict of each kind, and what it says.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	side := func(metric string, values ...float64) (out []gate.Run) {
		for i, v := range values {
			out = append(out, gate.Run{ID: fmt.Sprint(i), Metrics: map[string]float64{metric: v}, Events: map[string]float64{metric: 1000}})
		}
		return out
	}
	for _, c := range []struct {
		name   string
		a, b   []gate.Run
		want   gate.Verdict
		code   int
		reason string
	}{
		{"worse", side("api_latency_seconds p99", 1, 1.01, 0.99, 1), side("api_latency_seconds p99", 1.2, 1.21, 1.19, 1.2), gate.Worse, 3, "api_latency_seconds p99 is worse: +20.0 %"},
		{"better", side("platform_cores", 1, 1.01, 0.99, 1), side("platform_cores", 0.8, 0.81, 0.79, 0.8), gate.Better, 0, ""},
		{"a higher share is better", side("push_success_ratio", 0.9, 0.9, 0.9), side("push_success_ratio", 1, 1, 1), gate.Better, 0, ""},
		{"a lower share is worse", side("push_success_ratio", 1, 1, 1), side("push_success_ratio", 0.9, 0.9, 0.9), gate.Worse, 3, ""},
		{"the same", side("platform_cores", 1, 1.001, 0.999, 1), side("platform_cores", 1.001, 1, 1, 0.999), gate.Same, 0, ""},
		{"significant and of no matter", side("platform_cores", 1, 1.0001, 0.9999, 1), side("platform_cores", 1.01, 1.0101, 1.0099, 1.01), gate.Same, 0, ""},
		{"too noisy", side("platform_cores", 1, 1.5, 0.7), side("platform_cores", 1.1, 1.6, 0.8), gate.CannotTell, 4, "3 runs a side cannot tell"},
		{"one run a side", side("platform_cores", 1), side("platform_cores", 2), gate.CannotTell, 4, ""},
		{"nothing in common", side("platform_cores", 1, 1, 1), side("load_cores", 1, 1, 1), gate.CannotTell, 4, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := gate.Compare(c.a, c.b, false, gate.Metrics)
			if r.Verdict != c.want || r.ExitCode() != c.code || !strings.Contains(strings.Join(r.Reasons, "\n"), c.reason) {
				t.Errorf("%s, exit code %d, %v", r.Verdict, r.ExitCode(), r.Reasons)
			}
			for _, f := range gate.Formats {
				var b bytes.Buffer
				if err := f.Write(&b, r); err != nil || b.Len() == 0 {
					t.Errorf("%s: %v, %d bytes", f.Name, err, b.Len())
				}
				if f.Name == "junit" {
					var suite documents.JUnit
					if err := xml.Unmarshal(b.Bytes(), &suite); err != nil || (suite.Failures > 0) != (c.want == gate.Worse) {
						t.Errorf("junit: %v, %+v", err, suite)
					}
				}
				if f.Name == "gitlab" {
					metrics, samples := textparse.NewOpenMetricsParser(b.Bytes(), labels.NewSymbolTable()), 0
					for {
						what, err := metrics.Next()
						if errors.Is(err, io.EOF) {
							break
						}
						if err != nil {
							t.Fatalf("gitlab: %v", err)
						}
						if what == textparse.EntrySeries {
							samples++
						}
					}
					if samples == 0 && c.name != "nothing in common" {
						t.Error("gitlab: no sample")
					}
				}
				if f.Name == "github" && c.want == gate.Worse && !strings.HasPrefix(b.String(), "::error title=livedrill") {
					t.Errorf("github: %s", b.String())
				}
			}
		})
	}
}

// TestFewEvents: runs that came out alike, and have few publishes in them, prove nothing by being alike; when everything fails, they do.
func TestFewEvents(t *testing.T) {
	t.Parallel()
	side := func(runs int, share, events float64) (out []gate.Run) {
		for i := range runs {
			out = append(out, gate.Run{ID: fmt.Sprint(i), Metrics: map[string]float64{"push_success_ratio": share}, Events: map[string]float64{"push_success_ratio": events}})
		}
		return out
	}
	for _, c := range []struct {
		runs         int
		after, event float64
		want         gate.Verdict
	}{{2, 26. / 27, 27, gate.CannotTell}, {2, 0, 27, gate.CannotTell}, {4, 0, 27, gate.Worse}, {10, 26. / 27, 27000, gate.Worse}, {3, 1, 27, gate.CannotTell}, {10, 1, 27, gate.Same}} {
		for _, paired := range []bool{false, true} {
			if r := gate.Compare(side(c.runs, 1, c.event), side(c.runs, c.after, c.event), paired, gate.Metrics); r.Verdict != c.want {
				t.Errorf("%d runs of %g events, from all to %.3f (pairs: %v): %s, want %s: %v", c.runs, c.event, c.after, paired, r.Verdict, c.want, r.Reasons)
			}
		}
	}
}

// TestOneRunFarOut plants a regression in ten pairs, one of which a noisy neighbour has spoiled.
func TestOneRunFarOut(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 6))
	caught, alarms := 0, 0
	for range 100 {
		shared := machine(rng, 10)
		a, b, same := drawn(rng, shared, nil), drawn(rng, shared, map[string]float64{"platform_cores": 0.10}), drawn(rng, shared, nil)
		spoiled := [][]gate.Run{a, b}[rng.IntN(2)][rng.IntN(10)]
		for name := range spoiled.Metrics {
			if !strings.HasSuffix(name, "_ratio") {
				spoiled.Metrics[name] *= 3
			}
		}
		for _, j := range gate.CompareOnly(a, b, true, gate.Metrics).Metrics {
			if j.Metric == "platform_cores" && j.Verdict == gate.Worse {
				caught++
			}
		}
		if gate.CompareOnly(a, same, true, gate.Metrics).Verdict == gate.Worse {
			alarms++
		}
	}
	t.Logf("caught %d of 100, %d false alarms", caught, alarms)
	if caught < 95 || alarms > 5 {
		t.Errorf("caught %d of 100, %d false alarms", caught, alarms)
	}
}

// TestNowAndThen: a candidate that is twenty times as slow in two runs of ten is not the same, and a noisy baseline is no gain.
func TestNowAndThen(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	for _, paired := range []bool{false, true} {
		for _, slow := range []int{0, 1} { // the side
			sides := [2][]gate.Run{}
			for side := range sides {
				for i := range 10 {
					v := 0.013 * math.Exp(0.01*rng.NormFloat64())
					if side == slow && i < 2 {
						v *= 20
					}
					sides[side] = append(sides[side], gate.Run{ID: fmt.Sprint(side, i), Metrics: map[string]float64{"api_latency_seconds p99": v}})
				}
			}
			r := gate.Compare(sides[0], sides[1], paired, gate.Metrics)
			if want := []gate.Verdict{gate.Same, gate.CannotTell}[slow]; r.Verdict != want {
				t.Errorf("side %d is slow now and then (pairs: %v): %s, %v", slow, paired, r.Verdict, r.Reasons)
			}
		}
	}
}

// TestUnequal: what is needed is a number a side, and both sides are named.
func TestUnequal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(8, 8))
	side := func(n int) (out []gate.Run) {
		for i := range n {
			out = append(out, gate.Run{ID: fmt.Sprint(i), Metrics: map[string]float64{"platform_cores": math.Exp(0.1 * rng.NormFloat64())}})
		}
		return out
	}
	for _, n := range [][2]int{{30, 3}, {3, 30}} {
		r := gate.Compare(side(n[0]), side(n[1]), false, gate.Metrics)
		if r.Verdict != gate.CannotTell || !strings.Contains(r.Reasons[0], fmt.Sprintf("%d runs against %d cannot tell", n[1], n[0])) || r.Metrics[0].More <= 3 {
			t.Errorf("%v: %v", n, r.Reasons)
		}
	}
}

// TestBaselineFiles: files that are none, and numbers that are none, are refused by name.
func TestBaselineFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(rest string) string {
		return `{"schema":"livedrill.baseline/v1","runs":[{"id":"a","scenario":"x",` + rest + `}]}`
	}
	for name, c := range map[string]struct{ text, want string }{
		"good":       {run(`"metrics":{"platform_cores":0.3}`), ""},
		"no-runs":    {`{"schema":"livedrill.baseline/v1"}`, "holds no runs"},
		"null":       {run(`"metrics":{"platform_cores":null}`), "platform_cores is no number"},
		"null-event": {run(`"events":{"push_success_ratio":null}`), "push_success_ratio is no number"},
		"tiny":       {run(`"metrics":{"platform_cores":5e-324}`), "cannot be"},
		"negative":   {run(`"metrics":{"platform_cores":-1}`), "cannot be"},
		"cursor":     {run(`"scenario_sha256":"\u001b]0;x\u0007"`), "control characters"},
		"right-left": {run(`"machine":"\u202e"`), "control characters"},
		"long":       {run(`"profile":"` + strings.Repeat("x", 100_000) + `"`), "too long"},
		"no-id":      {`{"schema":"livedrill.baseline/v1","runs":[{"id":""}]}`, "no id"},
		"torn":       {`{"schema":`, "unexpected end"},
		"later":      {`{"schema":"livedrill.baseline/v9"}`, "schema"},
	} {
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := gate.Load(t.Context(), []string{path}); (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pipe := filepath.Join(dir, "pipe.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.Load(t.Context(), []string{pipe}); err == nil || !strings.Contains(err.Error(), "no ordinary file") {
		t.Errorf("a pipe: %v", err)
	}
}

// TestOnly compares by what was picked, and says which names there are.
func TestOnly(t *testing.T) {
	t.Parallel()
	metrics, err := gate.Pick([]string{"platform_cores", "load_cores", "platform_cores"})
	if err != nil || len(metrics) != 2 || metrics[0].Unit != "cores" {
		t.Errorf("%+v (%v)", metrics, err)
	}
	if _, err := gate.Pick([]string{"platform_core"}); err == nil || !strings.Contains(err.Error(), "did you mean") && !strings.Contains(err.Error(), "platform_cores") {
		t.Errorf("a metric that does not exist: %v", err)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	shared := machine(rng, 10)
	a, b := drawn(rng, shared, nil), drawn(rng, shared, map[string]float64{"platform_cores": 0.2})
	picked, err := gate.Pick([]string{"load_cores"})
	if err != nil {
		t.Fatal(err)
	}
	if r := gate.Compare(a, b, true, picked); len(r.Metrics) != 1 || r.Verdict == gate.Worse {
		t.Errorf("what was not asked for decided: %s, %d metrics", r.Verdict, len(r.Metrics))
	}
}

// TestFromRunDirectories judges real run directories, keeps them in a baseline, and finds what was planted in the candidate.
func TestFromRunDirectories(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var old, fresh []string
	for i := range 4 {
		story := reportstest.Usual()
		story.Noise, story.Seed = 0.02, uint64(i+1)
		old = append(old, moved(t, story.Write(t), folder, fmt.Sprint("old-", i)))
		story.Cores, story.Seed = 0.6, uint64(i+101)
		fresh = append(fresh, moved(t, story.Write(t), folder, fmt.Sprint("new-", i)))
	}
	before, err := gate.Load(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "baselines", "known.json")
	for range 2 { // again adds nothing
		if err := gate.Save(file, before, 30); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := gate.Load(t.Context(), []string{file})
	if err != nil || len(stored) != 4 {
		t.Fatalf("%d runs in the baseline (%v)", len(stored), err)
	}
	after, err := gate.Load(t.Context(), fresh)
	if err != nil {
		t.Fatal(err)
	}
	r := gate.Compare(stored, after, false, gate.Metrics)
	if r.Verdict != gate.Worse || !strings.Contains(strings.Join(r.Reasons, "\n"), "platform_cores is worse") {
		t.Errorf("%s: %v", r.Verdict, r.Reasons)
	}
	if all, err := gate.Load(t.Context(), []string{folder}); err != nil || len(all) != 8 {
		t.Errorf("a folder of runs has %d (%v)", len(all), err)
	}
	for name, spoil := range map[string]func(*reports.Facts){
		"interrupted": func(f *reports.Facts) { f.Interrupted = true },
		"died":        func(f *reports.Facts) { f.Finished = false },
		"unrestored":  func(f *reports.Facts) { f.Faults[0].State = "not-restored" },
	} {
		story := reportstest.Usual()
		story.Change = spoil
		if _, err := gate.Load(t.Context(), []string{story.Write(t)}); err == nil {
			t.Errorf("%s: a run that says nothing was taken", name)
		}
	}
	if _, err := gate.Load(t.Context(), []string{t.TempDir()}); err == nil {
		t.Error("an empty folder was taken")
	}
}

func moved(t *testing.T, dir, folder, name string) string {
	t.Helper()
	to := filepath.Join(folder, name)
	if err := os.Rename(dir, to); err != nil {
		t.Fatal(err)
	}
	return to
}
