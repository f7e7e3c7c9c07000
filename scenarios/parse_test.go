package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/livedrill/livedrill/injectors/kinds"
)

const wrong = `name: broken
summray: a key that does not exist
target: {profile: strong, drives: [mariadbb]}
load:
  a: {kind: rtpm}
  b: {kind: hls, viewers: many}
  c: {kind: danmaku, rate: -5/s}
faults:
  - {at: 0s, for: 5s, inject: network.loss, on: edge-nroth, with: {loss: 20%}}
  - {at: 0s, for: 5s, inject: network.loss, on: edge-north, with: {loss: 150%}}
  - {at: -3s, for: 5s, inject: redis.oom, on: redis}
  - {at: 0s, for: 5s, inject: network.delay, on: gateway, with: {delay: -3ms}}
  - {at: 0s, for: 25h, inject: process.pause, on: ingest-a}
objectives:
  - stall_ratoi <= 2%
  - e2e_latency_seconds <= 6s
  - stall_ratio <= 2%
runbook:
  - {when: stal, turn-on: redis-fallback}
  - {when: stall, turn-on: redis-fallbakc}
  - {when: stall, turn-of: redis-fallback}
  - {when: stall, run: [no-such-program, now]}
  - {when: stall, run: ["true"], turn-on: redis-fallback}
`

// TestAllMistakesAtOnce finds every mistake in one reading, each at its line.
func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Parse("broken.yaml", []byte(wrong), nil)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"broken.yaml:2: summray: no such setting (did you mean summary?)",
		`broken.yaml:3: target: no profile "strong"`,
		`broken.yaml:3: target.drives[0]: no component "mariadbb" (did you mean mariadb?)`,
		`broken.yaml:5: load.a: no load of kind "rtpm" (did you mean rtmp?)`,
		`broken.yaml:6: load.b.viewers: "many" is no whole number`,
		"broken.yaml:7: load.c.rate: a rate of -5/s is below zero",
		`broken.yaml:9: faults[0]: on: no component "edge-nroth" (did you mean edge-north?)`,
		"broken.yaml:10: faults[1].with.loss: 150% is outside 0% to 100%",
		"broken.yaml:11: faults[2].at: a duration of -3s is below zero",
		"broken.yaml:12: faults[3].with.delay: a duration of -3ms is below zero",
		"broken.yaml:13: faults[4]: it would last longer than a day",
		`broken.yaml:15: objectives[0]: no SLI "stall_ratoi" (did you mean stall_ratio?)`,
		"broken.yaml:16: objectives[1]: e2e_latency_seconds is a distribution: name a quantile",
		`broken.yaml:19: runbook[0].when: no objective "stal" (did you mean stall?)`,
		`broken.yaml:20: runbook[1].turn-on: no defence "redis-fallbakc": livedrill list defences shows all`,
		"broken.yaml:21: runbook[2].turn-of: no such setting (did you mean turn-on?)",
		`broken.yaml:22: runbook[3].run: exec: "no-such-program": executable file not found in $PATH`,
		"broken.yaml:23: runbook[4]: a rule turns on a defence or runs a program, not both",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if len(problems) != 19 { // the third rule turns nothing on
		t.Errorf("%d problems:\n%v", len(problems), err)
	}
}

// TestLibrary reads every scenario that ships, and what it is written out as.
func TestLibrary(t *testing.T) {
	if len(Names()) == 0 {
		t.Fatal("no scenario ships")
	}
	for _, name := range Names() {
		file, text, err := Read(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(file, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != name || s.Cause == "" || len(s.Objectives) == 0 {
			t.Errorf("%s is named %q, its cause is %q, it has %d objectives", name, s.Name, s.Cause, len(s.Objectives))
		}
		written, err := s.YAML()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir() // as a run directory keeps it
		for name, rules := range s.Alerts.Files {
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, alertsDir), 0o700), os.WriteFile(filepath.Join(dir, alertsDir, name), []byte(rules), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Parse(filepath.Join(dir, "written.yaml"), written, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		second, err := again.YAML()
		if err != nil || !bytes.Equal(written, second) {
			t.Errorf("%s changes when it is read again (%v):%s", name, err, difference(string(written), string(second)))
		}
		if !reflect.DeepEqual(s.Objectives, again.Objectives) {
			t.Errorf("%s: objectives change: %+v, %+v", name, s.Objectives, again.Objectives)
		}
	}
}

func TestSet(t *testing.T) {
	file, text, err := Read("evening-peak")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(file, text, []string{"load.chat.connections=50", "faults.0.with.loss=30%", "target.defences.shed-renditions=false"})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Target.Defences["shed-renditions"]; got {
		t.Error("the defence is still on")
	}
	if got := flat(s.Faults[0].Fault); got != "burst 1, direction both, loss 30%, seed 0" {
		t.Errorf("the fault has %s", got)
	}
	for _, bad := range []string{"x", "load.chat.rate.x=1", "faults.9.at=1s", "=1"} {
		if _, err := Parse(file, text, []string{bad}); err == nil {
			t.Errorf("--set %s was accepted", bad)
		}
	}
}

// everything has every part that a scenario can have.
const everything = `
name: everything
cause: hardware
target: {profile: weak, defences: {shed-renditions: true}, canary: {share: 20%, defences: {edge-dispatch: true}}}
paths: {north: {rtt: 8ms}, south: {rtt: 40ms, jitter: 5ms}}
load:
  streamers: {kind: rtmp, publishers: 2, bitrate: 800k}
  viewers: {kind: hls, viewers: 20, streams: 2, regions: {north: 70%, south: 30%}, segment: 1/2}
  shop: {kind: http, rate: 60/s spike to=100/s}
faults:
  - {at: 1s, for: 15s, inject: network.loss, on: edge-north, with: {loss: 30%}}
objectives:
  - stall_ratio <= 15% during network.loss abort
  - {name: own, expr: vector(1), limit: < 2, during: steady}
verify: [gift-ledger]
incidents: {network.loss: {per-month: 2, lasts: 10m}}
sla: {rto: 10m, availability: 99.99%, judgement: 3m}
runbook:
  - {when: own, turn-on: redis-fallback}
`

func TestEverything(t *testing.T) {
	if s, err := Parse("everything.yaml", []byte(everything), nil); err != nil || len(s.Runbook) != 1 || len(s.Objectives) != 2 {
		t.Errorf("%+v: %v", s, err)
	}
}

// FuzzParse: nothing that is read makes trouble, and what is accepted says the same when it is written out and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(wrong))
	f.Add([]byte(everything))
	for _, name := range Names() {
		_, text, _ := Read(name)
		f.Add(text)
	}
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz.yaml", text, nil)
		if err != nil || len(s.Alerts.Files) > 0 { // whose files stand beside it
			return
		}
		written, err := s.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("written.yaml", written, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if second, err := again.YAML(); err != nil || !bytes.Equal(written, second) {
			t.Errorf("it changes when it is read again (%v):%s", err, difference(string(written), string(second)))
		}
		for _, pair := range [][2]any{{s.Objectives, again.Objectives}, {s.Runbook, again.Runbook}, {s.Incidents, again.Incidents}, {s.SLA, again.SLA},
			{s.Phases, again.Phases}, {s.Verify, again.Verify}, {s.Target, again.Target}, {s.Paths, again.Paths}} {
			if fmt.Sprintf("%+v", pair[0]) != fmt.Sprintf("%+v", pair[1]) {
				t.Errorf("%+v is %+v when it is read again", pair[0], pair[1])
			}
		}
	})
}

// difference lists the lines that only one of two texts has.
func difference(a, b string) string {
	out := ""
	for line := range strings.Lines(a) {
		if !strings.Contains(b, line) {
			out += "\n- " + strings.TrimRight(line, "\n")
		}
	}
	for line := range strings.Lines(b) {
		if !strings.Contains(a, line) {
			out += "\n+ " + strings.TrimRight(line, "\n")
		}
	}
	return out
}

// TestSettingsByHand: settings that stand in no file are named by themselves, with their unit.
func TestSettingsByHand(t *testing.T) {
	loss, ok := kinds.Find("network.loss")
	if !ok {
		t.Fatal("no network.loss")
	}
	err := ReadSettings([]byte(`{"loss": "150%", "burst": "many", "size": 1}`), loss.Default())
	want := "loss: 150% is outside 0% to 100%\nburst: \"many\" is no number of packets\nsize: no such setting"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
