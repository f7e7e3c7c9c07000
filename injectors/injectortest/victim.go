package injectortest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// victimKey is the environment variable that makes a test binary a victim.
const victimKey = "LIVEDRILL_TEST_VICTIM"

// orders are what a victim is told: to bring a fault so far, and to die there.
type orders struct {
	Kind    string           `json:"kind"`
	On      target.Component `json:"on"`
	Journal string           `json:"journal"`
	Step    string           `json:"step"`
	After   time.Duration    `json:"after"` // of an injection that is killed in its middle
}

// The boundaries of a fault's life at which a victim is killed. Inject and restore are killed in their middle as well.
var steps = []string{"save", "journal", "injecting", "inject", "effect", "restoring", "restore"}

// Victim turns the test binary into the process of a drill that is killed, where Run has started it for that; TestMain calls it
// first, with the faults that its cases name.
func Victim(kinds map[string]func() injectors.Fault) {
	text := os.Getenv(victimKey)
	if text == "" {
		return
	}
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.die(kinds[o.Kind]())
	}
	fmt.Fprintln(os.Stderr, "it lived through everything:", err)
	os.Exit(1)
}

// die carries the fault to the step and kills its own process there, as nothing can be cleaned up after that.
func (o orders) die(f injectors.Fault) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	at := func(step string) {
		if step == o.Step {
			kill()
		}
	}
	if err := f.Check(ctx, o.On); err != nil {
		return err
	}
	was, err := f.Save(ctx, o.On)
	if err != nil {
		return err
	}
	at("save")
	journal, err := injectors.OpenJournal(o.Journal)
	if err != nil {
		return err
	}
	settings, err := json.Marshal(f)
	if err == nil {
		err = journal.Write(injectors.Entry{Fault: "f1", Kind: o.Kind, On: o.On, Settings: settings, Was: was})
	}
	if err != nil {
		return err
	}
	at("journal")
	if o.Step == "injecting" {
		time.AfterFunc(o.After, kill)
	}
	if err := f.Inject(ctx, o.On); err != nil {
		return err
	}
	if o.Step == "injecting" {
		kill() // it was quicker than that
	}
	at("inject")
	if o.Step == "effect" { // it changes nothing, and takes seconds: the steps behind it do without
		if _, err := f.Effect(ctx, o.On); err != nil {
			return err
		}
		kill()
	}
	if o.Step == "restoring" {
		time.AfterFunc(o.After, kill)
	}
	if err := f.Restore(ctx, o.On, was); err != nil {
		return err
	}
	kill()
	return nil
}

func kill() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }

// Killed kills a process at every step of the fault's life, and finishes each time from the journal what it began, as recover
// does: nothing may be left.
func Killed(t *testing.T, c Case) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	before := c.state(t)
	for _, step := range steps {
		delays := []time.Duration{0}
		if step == "injecting" || step == "restoring" {
			delays = []time.Duration{200 * time.Microsecond, 5 * time.Millisecond}
			if killAll() {
				delays = append(delays, 0, time.Millisecond, 2*time.Millisecond, 20*time.Millisecond)
			}
		}
		for _, after := range delays {
			o := orders{Kind: c.Kind, On: c.On, Journal: filepath.Join(t.TempDir(), "journal"), Step: step, After: after}
			text, err := json.Marshal(o)
			must(t, err)
			cmd := exec.CommandContext(ctx, "/proc/self/exe")
			cmd.Env = append(os.Environ(), victimKey+"="+string(text))
			said, err := cmd.CombinedOutput()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				t.Fatalf("%s: the victim was not killed: %v\n%s", step, err, said)
			}
			left, err := injectors.Unfinished(o.Journal)
			must(t, err)
			if want := map[bool]int{true: 0, false: 1}[step == "save"]; len(left) != want {
				t.Errorf("%s: the journal has %d open faults", step, len(left))
			}
			for range 2 { // recover may be killed as well
				for _, e := range left {
					f := c.New()
					must(t, json.Unmarshal(e.Settings, f))
					must(t, f.Restore(ctx, e.On, e.Was))
				}
			}
			if now := c.state(t); !reflect.DeepEqual(now, before) {
				t.Errorf("killed at %s after %s: left behind %v, before it was %v", step, after, now, before)
			}
		}
	}
}
