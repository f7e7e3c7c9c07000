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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// evening begins a short drill that the test will cut still shorter.
func evening(t *testing.T, state string) (*exec.Cmd, string, *bytes.Buffer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command(binary, "run", "evening-peak", "--profile", "weak", "--time-scale", "0.2", "--out", dir, "--json")
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, dir, &out
}

// processes lists what runs of livedrill: by its binary, or in one of the PID namespaces. A process without a command line has
// ended, and waits for this machine's own first process to take note. The namespaces of what it found are added.
func processes(t *testing.T, namespaces map[string]bool) []string {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, dir := range dirs {
		ns, err := os.Readlink(filepath.Join(dir, "ns", "pid"))
		if err != nil {
			continue // it has ended
		}
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(line) == 0 || exe != binary && !namespaces[ns] {
			continue
		}
		if ns != own {
			namespaces[ns] = true
		}
		out = append(out, strings.ReplaceAll(string(line), "\x00", " "))
	}
	return out
}

// proven waits until a fault of a drill is in effect.
func proven(t *testing.T, dir string) {
	t.Helper()
	if err := target.WaitUntil(t.Context(), time.Minute, func() bool {
		target.Wait(t.Context(), 20*time.Millisecond)
		text, err := os.ReadFile(filepath.Join(dir, "events.jsonl"))
		return err == nil && bytes.Contains(text, []byte("fault.proven"))
	}); err != nil {
		t.Fatalf("no fault is in effect: %v", err)
	}
}

// TestInterrupt stops a drill as Ctrl-C does while a fault is in effect: it restores within 2 s, reports and ends with 130. What was said to it
// before that is in the report.
func TestInterrupt(t *testing.T) {
	needRange(t)
	before, namespaces := machine(t), map[string]bool{}
	state := t.TempDir()
	cmd, dir, out := evening(t, state)
	proven(t, dir)
	for _, args := range [][]string{{"acknowledge", "EncoderBehind", "--as", "ana"}, {"cause", "network.loss", "--on", "edge-north"}} {
		say := exec.Command(binary, append([]string{"respond"}, args...)...)
		say.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
		if text, err := say.CombinedOutput(); err != nil {
			t.Errorf("respond %v: %v\n%s", args, err, text)
		}
	}
	processes(t, namespaces)
	at := time.Now()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	var r reports.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Verdict != reports.Interrupted || len(r.Faults) == 0 {
		t.Errorf("%s, %d faults (%v)", r.Verdict, len(r.Faults), err)
	}
	if len(r.Remarks) != 2 || r.Remarks[0].By != "ana" || r.Remarks[0].Alert != "EncoderBehind" || r.Remarks[1].Score == nil || !r.Remarks[1].Score.Kind {
		t.Errorf("remarks: %+v", r.Remarks)
	}
	for _, f := range r.Faults {
		if f.State != "restored" {
			t.Errorf("%s is %s: %s", f.ID, f.State, f.Error)
		}
		if f.Undone == nil || r.Run.Started.Add(time.Duration(*f.Undone*float64(time.Second))).Sub(at) > 2*time.Second {
			t.Errorf("%s was undone at %v of a run that began at %s; it was interrupted at %s", f.ID, f.Undone, r.Run.Started, at)
		}
	}
	halted := slices.ContainsFunc(events(dir), func(e record.Event) bool {
		return e.Kind == "load.halted" && r.Run.Started.Add(time.Duration(e.T*float64(time.Second))).Sub(at) < 2*time.Second
	})
	if !halted {
		t.Error("the load went on")
	}
	unchanged(t, before)
	if left := processes(t, namespaces); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}

// TestAbort breaks three things and has an objective that ends the run: within two seconds the load stops and everything is undone, the
// newest first, though each proof of that takes its time.
func TestAbort(t *testing.T) {
	needRange(t)
	file := filepath.Join(t.TempDir(), "abort.yaml")
	if err := os.WriteFile(file, []byte(`name: abort
phases: {warm-up: 1s, steady: 2s, recovery: 1s}
load:
  shop: {kind: http, rate: 100/s}
faults:
  - {at: 0s, for: 60s, inject: network.loss, on: edge-north}
  - {at: 0s, for: 60s, inject: network.delay, on: danmaku-a}
  - {at: 0s, for: 60s, inject: mysql.replication-lag, on: mariadb-replica}
  - {at: 0s, for: 60s, inject: redis.snapshot, on: redis}
  - {at: 0s, for: 60s, inject: tls.expiry, on: edge-south}
  - {at: 4s, for: 60s, inject: network.reset, on: gateway}
objectives:
  - api_error_ratio <= 5% during fault abort
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, r, dir := drill(t, "run", file)
	when := map[string]float64{}
	for _, e := range events(dir) {
		when[e.Kind] = e.T
	}
	aborted, known := when["run.aborted"]
	if !known || r.Verdict != reports.RunMissed || len(r.Faults) != 6 {
		t.Fatalf("aborted at %g (%v), %s, %d faults", aborted, known, r.Verdict, len(r.Faults))
	}
	if took := when["load.halted"] - aborted; took < 0 || took > 2 {
		t.Errorf("the load went on for %.2f s", took)
	}
	later := math.Inf(1)
	for _, f := range r.Faults {
		if f.State != "restored" || f.Undone == nil || *f.Undone-aborted > 2 {
			t.Errorf("%s: %s, undone at %v, and the run was aborted at %.2f s", f.Kind, f.State, f.Undone, aborted)
			continue
		}
		if *f.Undone > later {
			t.Errorf("%s was undone after what was older", f.Kind)
		}
		later = *f.Undone
	}
}

// TestRangeThatHangs stops the first process of a range in the middle of a fault: once the fault should have been over, the process outside
// kills it, and the kernel takes everything back.
func TestRangeThatHangs(t *testing.T) {
	needRange(t)
	before, namespaces := machine(t), map[string]bool{}
	state := t.TempDir()
	cmd, dir, _ := evening(t, state)
	proven(t, dir)
	processes(t, namespaces)
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid)) // of each thread
	if err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil && syscall.Kill(pid, syscall.SIGSTOP) == nil {
				stopped++
			}
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = cmd.Process.Kill() // the range ends with it, stopped or not
			_ = cmd.Wait()
		}
	})
	if stopped != 1 {
		t.Fatalf("it has %d children", stopped)
	}
	// Its own fault has a minute and more for all that may be slow. This one has had it.
	files, err := filepath.Glob(filepath.Join(state, "livedrill", "*.journal"))
	if err != nil || len(files) != 1 {
		t.Fatalf("journals %v (%v)", files, err)
	}
	open, err := injectors.Unfinished(files[0])
	if err != nil || len(open) != 1 || time.Until(open[0].Until) > 2*time.Minute {
		t.Fatalf("%+v (%v)", open, err)
	}
	journal, err := injectors.OpenJournal(files[0])
	if err != nil {
		t.Fatal(err)
	}
	late := open[0]
	late.Fault, late.Until = "late", time.Now()
	if err := errors.Join(journal.Write(late), journal.Close()); err != nil {
		t.Fatal(err)
	}
	waited := time.Now()
	_ = cmd.Wait() // its exit code is looked at
	if code, took := cmd.ProcessState.ExitCode(), time.Since(waited); code != 1 || took > 5*time.Second {
		t.Errorf("exit code %d after %s", code, took)
	}
	unchanged(t, before)
	if left := processes(t, namespaces); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}
