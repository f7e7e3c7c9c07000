package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/scenarios"
	"github.com/livedrill/livedrill/target"
)

// nobody is the user and the group without rights on every Linux.
const nobody = 65534

// ordinary makes what starts commands as a user without rights, where the test has some to give up, with a state of its own.
func ordinary(t *testing.T) (state string, command func(args ...string) *exec.Cmd) {
	t.Helper()
	state, err := os.MkdirTemp("", "livedrill-state") // those of tests are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	var as *syscall.SysProcAttr
	if os.Getuid() == 0 {
		if err := os.Chown(state, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return state, func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env, cmd.Dir, cmd.SysProcAttr = append(os.Environ(), "XDG_STATE_HOME="+state, "HOME="+state), state, as
		return cmd
	}
}

// TestByHand has somebody without rights keep a range and break things in it: two faults overlap, one is ended by Ctrl-C, what cannot be is refused, and
// the log of who did what stays.
func TestByHand(t *testing.T) {
	needRange(t)
	before, namespaces := machine(t), map[string]bool{}
	state, livedrill := ordinary(t)
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := livedrill(args...)
		out, _ := cmd.CombinedOutput() // its exit code is looked at
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%v ended with %d: %s", args, code, out)
		}
		return string(out)
	}
	if out := run(0, "target", "up", "--name", "hand"); t.Failed() {
		if strings.Contains(out, "range") && strings.Contains(out, "user namespace") {
			t.Skip("this machine gives users without rights no range")
		}
		t.FailNow()
	}
	up := true
	t.Cleanup(func() {
		if up {
			_ = livedrill("target", "down", "--name", "hand").Run() // the test has failed already
		}
	})
	long := livedrill("inject", "network.loss", "--name", "hand", "--on", "edge-north", "--for", "60s", "--with", "loss=30%", "--json")
	var out bytes.Buffer
	long.Stdout = &out
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	if err := target.WaitUntil(t.Context(), 20*time.Second, func() bool {
		target.Wait(t.Context(), 20*time.Millisecond)
		return len(journals(t, state)) > 0
	}); err != nil {
		t.Fatal("the first fault never began")
	}
	if said := run(2, "inject", "network.partition", "--name", "hand", "--on", "edge-north", "--for", "1s"); !strings.Contains(said, "packets") {
		t.Errorf("a second fault of the same link is refused with %q", said)
	}
	if said := run(2, "inject", "redis.oom", "--name", "hand", "--on", "rediss", "--for", "1s"); !strings.Contains(said, `no component "rediss"`) {
		t.Errorf("a component that is not there is refused with %q", said)
	}
	var result scenarios.InjectResult
	if err := json.Unmarshal([]byte(run(0, "inject", "redis.oom", "--name", "hand", "--on", "redis", "--for", "1s", "--json")), &result); err != nil ||
		result.State != "restored" || result.N == 0 || len(result.Measured) == 0 {
		t.Errorf("beside the other one: %+v (%v)", result, err)
	}
	processes(t, namespaces)
	if err := long.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = long.Wait() // its exit code is looked at
	if err := json.Unmarshal(out.Bytes(), &result); err != nil || long.ProcessState.ExitCode() != 130 || result.State != "restored" || result.Kind != "network.loss" {
		t.Errorf("Ctrl-C: exit code %d, %+v (%v)", long.ProcessState.ExitCode(), result, err)
	}
	run(0, "target", "down", "--name", "hand")
	up = false
	logs, err := filepath.Glob(filepath.Join(state, "livedrill", "audit", "*.jsonl"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs of who did what: %v (%v)", logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil || record.CheckAudit(logs[0]) != nil || strings.Count(string(text), "nobody") < 2 && os.Getuid() == 0 {
		t.Errorf("%v, %v: %s", err, record.CheckAudit(logs[0]), text)
	}
	unchanged(t, before)
	if left := processes(t, namespaces); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}
