package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/scenarios"
)

// binary is livedrill as users get it, built once for all tests: a range starts its own program again, which a test binary
// is not.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "livedrill-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // some tests run it as somebody else
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "livedrill")
	build := exec.Command("go", "build", "-trimpath", "-tags", "netgo,osusergo", "-o", binary, ".") // as make build, which compiled it all
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// TestScripts runs the command line as its users do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, Setup: func(e *testscript.Env) error {
		e.Setenv("PATH", filepath.Dir(binary)+string(filepath.ListSeparator)+os.Getenv("PATH"))
		e.Setenv("HOME", e.WorkDir)
		e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
		return nil
	}})
}

// TestReferencePages: the pages that list faults, loads and SLIs are those that the program writes (make reference).
func TestReferencePages(t *testing.T) {
	for list, page := range map[string]string{"faults": "injectors", "loads": "loadgen", "slis": "reports"} {
		want, err := exec.Command(binary, "list", list, "--markdown").Output()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", "..", page, "REFERENCE.md"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s/REFERENCE.md is not what the program writes (%v): make reference", page, err)
		}
	}
}

// needRange skips where drills cannot run.
func needRange(t *testing.T) {
	t.Helper()
	if missing := scenarios.MissingPrograms(); len(missing) > 0 {
		t.Skipf("missing on this machine: %v", missing)
	}
	out, err := exec.Command(binary, "doctor", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var findings []struct {
		What, Mend string
		OK         bool
	}
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.What == "range" && !f.OK {
			t.Skipf("this machine allows no range: %s", f.Mend)
		}
	}
}

// TestDoctorKnowsEveryFault: each kind is there with its back end, or with what is missing.
func TestDoctorKnowsEveryFault(t *testing.T) {
	needRange(t)
	said := map[string]struct {
		What, How, Mend string
		OK              bool
	}{}
	var findings []struct {
		What, How, Mend string
		OK              bool
	}
	var kinds []struct {
		Name     string
		BackEnds []string `json:"back_ends"`
	}
	for into, args := range map[any][]string{&findings: {"doctor", "--json"}, &kinds: {"list", "faults", "--json"}} {
		out, err := exec.Command(binary, args...).Output()
		if err == nil {
			err = json.Unmarshal(out, into)
		}
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	for _, f := range findings {
		said[f.What] = f
	}
	if len(kinds) < 70 {
		t.Errorf("there are %d kinds", len(kinds))
	}
	for _, k := range kinds {
		f, ok := said[k.Name]
		switch {
		case !ok:
			t.Errorf("doctor says nothing of %s", k.Name)
		case !f.OK && f.Mend == "":
			t.Errorf("%s does not work here, and nobody says why", k.Name)
		case f.OK && !slices.ContainsFunc(k.BackEnds, func(b string) bool { return strings.HasPrefix(f.How, b) }):
			t.Errorf("%s is done by %q, and should be by one of %q", k.Name, f.How, k.BackEnds)
		}
	}
}

// drill runs livedrill with a state of its own and returns its exit code, its output and its run directory.
func drill(t *testing.T, args ...string) (int, reports.Result, string) {
	t.Helper()
	temp, err := os.MkdirTemp("", "livedrill-run") // kept when the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the run is in %s", temp)
			return
		}
		os.RemoveAll(temp)
	})
	dir := filepath.Join(temp, "run")
	cmd := exec.Command(binary, append(args, "--out", dir, "--json")...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r reports.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("stdout is no JSON (%v):\n%s\n%s", err, out.Bytes(), errs.Bytes())
	}
	t.Logf("%v: %s %v", args, r.Verdict, r.Reasons)
	return cmd.ProcessState.ExitCode(), r, dir
}

// conclusive repeats a drill that proved nothing, as its user would: a machine that others kept busy, and said so. A drill
// that missed or broke is never repeated.
func conclusive(t *testing.T, args ...string) (code int, r reports.Result, dir string) {
	t.Helper()
	for range 3 {
		if code, r, dir = drill(t, args...); r.Verdict != reports.Inconclusive {
			break
		}
	}
	return code, r, dir
}

// TestEveningPeakDiscriminates is the promise of every scenario: it passes on the hardened platform, misses on the weak one,
// each fault for its own reason, and with no faults the weak one passes too.
func TestEveningPeakDiscriminates(t *testing.T) {
	if testing.Short() {
		t.Skip("three drills take five minutes")
	}
	needRange(t)
	t.Run("hardened", func(t *testing.T) {
		code, r, dir := conclusive(t, "run", "evening-peak")
		if code != 0 || r.Verdict != reports.Passed {
			t.Errorf("exit code %d, %s: %v", code, r.Verdict, r.Reasons)
		}
		if len(r.Faults) != 3 || len(r.Objectives) < 8 || len(r.Loads) != 4 || len(r.Consistency) != 2 {
			t.Errorf("%d faults, %d objectives, %d loads, %d checks", len(r.Faults), len(r.Objectives), len(r.Loads), len(r.Consistency))
		}
		for _, f := range r.Faults {
			if f.State != "restored" || f.Clean == nil || len(f.Asked) == 0 || f.Measured["n"] == 0 {
				t.Errorf("fault without proof: %+v", f)
			}
		}
		for _, o := range r.Objectives {
			if o.N == 0 || o.Low == nil || o.Expr == "" {
				t.Errorf("objective without n, bounds or expression: %+v", o)
			}
		}
		for _, file := range []string{"result.json", "events.jsonl", "scenario.yaml", "report.html", "report.md", "junit.xml", "MANIFEST.sha256",
			"tsdb", "logs"} {
			if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("weak", func(t *testing.T) {
		code, r, _ := conclusive(t, "run", "evening-peak", "--profile", "weak")
		if code != 3 {
			t.Errorf("exit code %d, %s", code, r.Verdict)
		}
		for fault, objective := range map[string]string{"f1": "stall-network-loss", "f2": "e2e-latency-p95-gpu-throttle", "f3": "api-error-redis-oom"} {
			missed := slices.ContainsFunc(r.Objectives, func(o reports.Judged) bool { return o.Name == objective && o.Verdict == reports.Missed })
			hurt := slices.ContainsFunc(r.Impact, func(i reports.Impact) bool { return i.Fault == fault && i.Objective == objective })
			if !missed || !hurt {
				t.Errorf("%s: missed %v, in the impact of %s %v", objective, missed, fault, hurt)
			}
		}
		for fault, felt := range map[string][2]string{"f1": {reports.SlowestPicture, "edge-north"}, "f2": {reports.SlowestPicture, "transcode"},
			"f3": {reports.FailedRequest, "redis"}} {
			if !slices.ContainsFunc(r.Traces, func(x reports.Trace) bool { return x.Fault == fault && x.What == felt[0] && x.Hop == felt[1] }) {
				t.Errorf("no %s of %s names %s: %+v", felt[0], fault, felt[1], r.Traces)
			}
		}
	})
	t.Run("weak without faults", func(t *testing.T) {
		code, r, _ := conclusive(t, "run", "evening-peak", "--profile", "weak", "--no-faults", "--time-scale", "0.5")
		if code != 0 {
			t.Errorf("exit code %d, %s: %v", code, r.Verdict, r.Reasons)
		}
	})
}

// TestOwnProgram: Redis is taken away, and a script of the user's own, which the runbook runs in the range, gives the platform another one: the
// report says when it began and ended, and how long service was hurt.
func TestOwnProgram(t *testing.T) {
	needRange(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "switch.sh")
	if err := os.WriteFile(script, []byte(`#!/bin/sh
# Mends Redis by its own means: what the platform is made of comes on standard input.
platform=$(cat)
address=$(printf %s "$platform" | sed 's/.*"redis":{"addr":"\([^"]*\)".*/\1/')
secret=$(printf %s "$platform" | sed 's/.*"redis":{"addr":"[^"]*","password":"\([^"]*\)".*/\1/')
echo "$LIVEDRILL_OBJECTIVE of $LIVEDRILL_RUN is missed: $1 at $address"
sleep 4 # as long as a switch takes
REDISCLI_AUTH=$secret redis-cli -h "${address%:*}" -p "${address##*:}" config set maxmemory 0
`), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "own.yaml")
	if err := os.WriteFile(file, []byte(`name: own
target: {profile: weak}
phases: {warm-up: 1s, steady: 3s, recovery: 1s}
load:
  shop: {kind: http, rate: 60/s}
faults:
  - {at: 0s, for: 11s, inject: redis.oom, on: redis}
objectives:
  - api_error_ratio <= 5% during redis.oom
runbook:
  - {when: api-error-redis-oom, run: [`+script+`, "more; memory $(id)"]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, r, out := drill(t, "run", file)
	log, err := os.ReadFile(filepath.Join(out, "logs", "runbook-1.log"))
	if err != nil || !strings.Contains(string(log), "api-error-redis-oom of "+r.Run.ID+" is missed: more; memory $(id) at ") || !strings.Contains(string(log), "OK") {
		t.Errorf("it said %q (%v)", log, err)
	}
	if len(r.Remarks) != 1 || len(r.Responses) != 1 {
		t.Fatalf("remarks %+v, responses %+v", r.Remarks, r.Responses)
	}
	m, response := r.Remarks[0], r.Responses[0]
	if m.Program != "switch.sh" || m.Done == nil || response.Mitigation != "switch.sh" || response.T[5] == nil || *response.T[5] != *m.Done {
		t.Errorf("%+v, mitigated by %q at %v", m, response.Mitigation, response.T[5])
	}
	if response.RTO == nil || response.T[6] == nil || *response.T[6] > *r.Faults[0].Restored {
		t.Errorf("whole again at %v, the fault was restored at %v", response.T[6], *r.Faults[0].Restored)
	}
}

// TestRunbook: a weak platform whose Redis refuses writes is mended by its runbook while the fault lasts, and the report proves it. One
// region is further away than the other, and is seen to be.
func TestRunbook(t *testing.T) {
	needRange(t)
	file := filepath.Join(t.TempDir(), "runbook.yaml")
	if err := os.WriteFile(file, []byte(`name: runbook
target: {profile: weak}
phases: {warm-up: 1s, steady: 4s, recovery: 3s}
paths: {south: {rtt: 30ms}}
load:
  shop: {kind: http, rate: 60/s}
faults:
  - {at: 0s, for: 12s, inject: redis.oom, on: redis}
objectives:
  - api_error_ratio <= 5% during redis.oom
runbook:
  - {when: api-error-redis-oom, turn-on: redis-fallback}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, r, _ := drill(t, "run", file)
	if len(r.Remarks) != 1 || len(r.Responses) != 1 {
		t.Fatalf("remarks %+v, responses %+v", r.Remarks, r.Responses)
	}
	m, at, restored := r.Remarks[0], r.Responses[0].T, r.Faults[0].Restored
	if m.Defence != "redis-fallback" || m.By != "runbook" || m.Done == nil || r.Responses[0].Mitigation != "redis-fallback" {
		t.Fatalf("%+v, mitigated by %q", m, r.Responses[0].Mitigation)
	}
	if at[5] == nil || restored == nil || *at[5] < *m.Done || *at[5] > *restored || at[6] != nil && *at[6] > *restored {
		t.Errorf("turned on at %.1f s, seen to act and whole again at %v, restored at %v", *m.Done, at, restored)
	}
	if o := r.Objectives[0]; o.Measured == nil || *o.Measured > 0.5 { // without the runbook nearly all fail
		t.Errorf("%+v", o)
	}
	median := map[string]float64{}
	for _, c := range r.Table {
		if c.SLI == "api_latency_seconds" && c.Phase == "steady" && c.P50 != nil {
			median[c.Region] = *c.P50
		}
	}
	if further := median["south"] - median["north"]; len(r.Paths) != 1 || further < 0.02 || further > 0.06 {
		t.Errorf("30 ms further away is %.4f s: %v, %+v", further, median, r.Paths)
	}
}
