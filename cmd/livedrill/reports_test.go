package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/gate"
	"github.com/livedrill/livedrill/reports/reportstest"
	"github.com/livedrill/livedrill/target"
)

// TestDeadRunIsTold kills a run in its middle: what it had written by then is reported, and nothing is claimed.
func TestDeadRunIsTold(t *testing.T) {
	needRange(t)
	state := t.TempDir()
	cmd, dir, _ := evening(t, state)
	for range 600 {
		if text, err := os.ReadFile(filepath.Join(dir, "events.jsonl")); err == nil && bytes.Contains(text, []byte(`"name":"steady"`)) {
			break
		}
		target.Wait(t.Context(), 50*time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	recovery := exec.Command(binary, "recover")
	recovery.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
	if out, err := recovery.CombinedOutput(); err != nil {
		t.Errorf("recover: %v\n%s", err, out)
	}
	var exit *exec.ExitError
	out, err := exec.Command(binary, "report", dir, "--format", "json").Output()
	if !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Fatalf("report of a dead run: %v", err)
	}
	var r reports.Result
	if err := json.Unmarshal(out, &r); err != nil || r.Verdict != reports.Inconclusive || len(r.Phases) == 0 || !strings.Contains(strings.Join(r.Reasons, " "), "died") {
		t.Errorf("%v: %s with %d phases: %v", err, r.Verdict, len(r.Phases), r.Reasons)
	}
}

// TestGateRun makes four pairs by programs that bring stored runs along: they are made in turns, who begins changes, and a candidate that
// needs more processor is worse.
func TestGateRun(t *testing.T) {
	dir := t.TempDir()
	for i, side := range "abbaabba" {
		s := reportstest.Usual()
		s.Seed, s.Noise = uint64(i+1), 0.01
		if side == 'b' {
			s.Cores = 0.7
		}
		if err := os.Rename(s.Write(t), filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "livedrill")
	if err := os.WriteFile(program, []byte(`#!/bin/sh
cd "$(dirname "$0")" && n=$(ls -d done-* 2>/dev/null | wc -l) && : > "done-$n"
while [ "$1" != --out ]; do shift; done
cp -r "$n" "$2"
`), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "gate", "run", "evening-peak", "--a", "bin="+program, "--b", "bin="+program, "--rounds", "4", "--out", filepath.Join(dir, "out"), "--json").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("%v: %s", err, out)
	}
	var r gate.Result
	if err := json.Unmarshal(out, &r); err != nil || !r.Paired || len(r.Baseline) != 4 || r.Baseline[0] == r.Runs[0] || !strings.Contains(strings.Join(r.Reasons, "\n"), "platform_cores is worse: +40") {
		t.Errorf("%+v (%v)", r, err)
	}
}

// TestSplit runs two versions of the gateway side by side: users are split as asked, and one arm's slowness is seen in it alone.
func TestSplit(t *testing.T) {
	needRange(t)
	file := filepath.Join(t.TempDir(), "ab.yaml")
	if err := os.WriteFile(file, []byte(`name: ab
phases: {warm-up: 2s, steady: 15s, recovery: 0s}
load: {shop: {kind: http, rate: 100/s, users: 100}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "gate", "split", file, "--b", "bounded-requests=off", "--json", "--out", filepath.Join(t.TempDir(), "run"))
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var arms reports.Arms
	if err := json.Unmarshal(out, &arms); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errs.Bytes())
	}
	if math.Abs(arms.Share.Value-0.3) > 0.05 || arms.Share.Low > 0.3 || arms.Share.High < 0.3 || len(arms.Rows) != 5 {
		t.Errorf("b had %g (%g to %g) of the requests, %d rows", arms.Share.Value, arms.Share.Low, arms.Share.High, len(arms.Rows))
	}
}

// TestFullDisk prints onto a full disk: whatever did not get out is no success.
func TestFullDisk(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--version"}, {"list", "faults"}, {"target", "config"}, {"completion", "bash"}, {"history", t.TempDir()}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		cmd := exec.Command(binary, args...)
		cmd.Stdout = full
		err = cmd.Run()
		_ = full.Close() // nothing got out
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%v: %v, want exit code 1", args, err)
		}
	}
}
