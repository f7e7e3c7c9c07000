package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// busy is a drill of nine faults that overlap: of the network, of a disk, of processes, of the servers, of streams.
const (
	busy       = "testdata/drills/busy.yaml"
	busyFaults = 9
	busyLength = 20 * time.Second // with its start, about
)

// boundaries are the steps of a fault's life, as the events call them: what is there is saved after the first. Between it and the second, the
// fault is written into the journal.
var boundaries = []string{"fault.check", journalled, "fault.inject", "fault.effective", "fault.proven", "fault.restore", "fault.undone", "fault.clean"}

const journalled = "its line in the journal"

// moment is when a run is killed: after a time, or when a fault of it comes to a boundary.
type moment struct {
	after time.Duration
	event string
	fault string
}

func (m moment) String() string {
	if m.event != "" {
		return m.fault + " at " + m.event
	}
	return m.after.String()
}

// moments are n at random, and the boundaries of every fault; of few, one while the run starts, one at a boundary, and one at random.
func moments(n int) (out []moment) {
	for f := range busyFaults {
		for _, event := range boundaries {
			out = append(out, moment{event: event, fault: fmt.Sprint("f", f+1)})
		}
	}
	if n == 0 {
		return []moment{{after: time.Duration(100+rand.IntN(400)) * time.Millisecond}, out[rand.IntN(len(out))], {after: time.Duration(rand.Int64N(int64(busyLength)))}}
	}
	for range n {
		out = append(out, moment{after: time.Duration(rand.Int64N(int64(busyLength)))})
	}
	return out
}

// events reads what a run has written so far; half a line at the end is none.
func events(dir string) (out []record.Event) {
	text, _ := os.ReadFile(filepath.Join(dir, "events.jsonl")) // it may not be there yet
	for line := range bytes.Lines(text) {
		var e record.Event
		if json.Unmarshal(line, &e) == nil {
			out = append(out, e)
		}
	}
	return out
}

// journals names the faults that a line of a run's journal speaks of.
func journals(t *testing.T, state string) map[string]bool {
	files, err := filepath.Glob(filepath.Join(state, "livedrill", "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		for line := range bytes.Lines(text) {
			var e injectors.Entry
			if json.Unmarshal(line, &e) == nil {
				out[e.Fault] = true
			}
		}
	}
	return out
}

// TestKillLeavesNothing ends the command by kill -9, at the boundaries of faults and at random moments: a second later the kernel has ended
// everything, and after recover nothing is left on the machine, and no state.
func TestKillLeavesNothing(t *testing.T) {
	needRange(t)
	random, _ := strconv.Atoi(os.Getenv("LIVEDRILL_KILLS")) // not given: few
	hit := map[string]int{}                                 // how many kills found a kind of fault in effect
	for i, m := range moments(random) {
		ordinary := i%3 == 1 // every third drill is somebody's without rights
		t.Run(fmt.Sprintf("%d, %s, without rights %v", i, m, ordinary), func(t *testing.T) { killAt(t, m, ordinary, hit) })
	}
	t.Logf("kinds in effect at a kill: %v", hit)
	if len(hit) <= busyFaults && random > 0 {
		t.Errorf("of the drill's kinds of faults only these were ever in effect at a kill: %v", hit)
	}
}

func killAt(t *testing.T, m moment, withoutRights bool, hit map[string]int) {
	state := t.TempDir()
	livedrill := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
		return cmd
	}
	before, namespaces := machine(t), map[string]bool{}
	text, err := os.ReadFile(busy)
	if err != nil {
		t.Fatal(err)
	}
	if withoutRights {
		state, livedrill = ordinary(t)
		text = bytes.ReplaceAll(text, []byte("resource.disk-slow"), []byte("resource.disk-full")) // FUSE may be root's alone
	}
	scenario, dir := filepath.Join(state, "busy.yaml"), filepath.Join(state, "run") // where the drill's user can read and write
	if err := os.WriteFile(scenario, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := livedrill("run", scenario, "--out", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began, over := time.Now(), make(chan struct{})
	go func() {
		defer close(over)
		_ = cmd.Wait() // it is killed
	}()
	ended := func() bool { // by itself: a fault without effect never comes to some boundaries
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	come := func() bool {
		switch m.event {
		case "":
			return time.Since(began) >= m.after
		case journalled:
			return journals(t, state)[m.fault]
		}
		for _, e := range events(dir) {
			if e.Kind == m.event && e.Details["fault"] == m.fault {
				return true
			}
		}
		return false
	}
	for !come() && !ended() && target.Wait(t.Context(), 2*time.Millisecond) {
	}
	if ended() {
		if t.Logf("it ended by itself after %s", time.Since(began)); m.event != "" {
			t.Errorf("it never came to %s", m)
		}
	} else if len(processes(t, namespaces)) == 0 {
		t.Error("nothing of the run was found while it ran: this test would see nothing")
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-over
	there := map[string]string{}
	for _, e := range events(dir) {
		id, _ := e.Details["fault"].(string)
		switch e.Kind {
		case "fault.effective":
			there[id], _ = e.Details["type"].(string)
		case "fault.clean":
			delete(there, id)
		}
	}
	for _, kind := range there {
		hit[kind]++
	}
	target.Wait(t.Context(), time.Second)
	if left := processes(t, namespaces); len(left) > 0 {
		t.Errorf("still running a second later: %q", left)
	}
	cut := livedrill("recover") // which is killed as well
	if err := cut.Start(); err != nil {
		t.Fatal(err)
	}
	target.Wait(t.Context(), time.Duration(rand.IntN(20))*time.Millisecond)
	_ = cut.Process.Kill() // it may have ended
	_ = cut.Wait()
	recovery := livedrill("recover", "--json")
	if out, err := recovery.CombinedOutput(); err != nil {
		t.Errorf("recover: %v\n%s", err, out)
	}
	unchanged(t, before)
	files, err := filepath.Glob(filepath.Join(state, "livedrill", "*"))
	if err != nil || len(files) > 0 {
		t.Errorf("state is left: %v (%v)", files, err)
	}
}
