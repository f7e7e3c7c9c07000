package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/record"
)

// noted is a drill that can only take things down.
func noted(t *testing.T) *drill {
	t.Helper()
	d := &drill{Orders: Orders{Dir: t.TempDir(), Actor: "tester"}}
	d.facts.Run = reports.Run{Scenario: "x", Started: time.Now()}
	var err error
	if d.events, err = record.CreateEvents(filepath.Join(d.Dir, "events.jsonl"), time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if d.audit, err = record.CreateAudit(filepath.Join(d.Dir, record.AuditFile)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.events.Close(); err != nil {
			t.Error(err)
		}
		if err := d.audit.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// TestRemarksThatMakeNoSense are refused before anything is done.
func TestRemarksThatMakeNoSense(t *testing.T) {
	d := noted(t)
	for _, m := range []reports.Remark{
		{What: reports.SaidAcknowledge},
		{What: reports.SaidAcknowledge, By: reports.Runbook},
		{What: reports.SaidAcknowledge, By: strings.Repeat("é", longestRemark+1)},
		{What: reports.SaidAcknowledge, By: "ana", Defence: "redis-fallback"},
		{What: reports.SaidAction, By: "ana"},
		{What: reports.SaidAction, By: "ana", Text: "x", On: "redis"},
		{What: reports.SaidCause, By: "ana", Fault: "redis.omo", On: "redis"},
		{What: reports.SaidAction, By: "ana", Text: " \u200b"},
		{What: reports.SaidDefend, By: "ana"},
		{What: reports.SaidDefend, By: "ana", Defence: "moat"},
		{What: "shout", By: "ana"},
		{},
	} {
		if err := d.check(m); err == nil {
			t.Errorf("%+v was taken", m)
		}
	}
	for _, m := range []reports.Remark{
		{What: reports.SaidAcknowledge, By: strings.Repeat("é", longestRemark)},
		{What: reports.SaidAction, By: "ana", Text: "looked"},
	} {
		if err := d.check(m); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	defend := reports.Remark{What: reports.SaidDefend, By: "ana", Defence: "redis-fallback"}
	if err := d.check(defend); err == nil {
		t.Error("a defence before the load")
	}
	d.enter("warm-up")
	if err := d.check(defend); err != nil {
		t.Error(err)
	}
}

// TestRemarksWhileTheRunGoesOn: people speak and the timeline goes on at once; every remark is taken down, up to the bound and to the end.
func TestRemarksWhileTheRunGoesOn(t *testing.T) {
	d := noted(t)
	var wg sync.WaitGroup
	for who := range 4 {
		wg.Go(func() {
			for i := range 10 {
				if _, err := d.take(reports.Remark{By: fmt.Sprint(who), What: reports.SaidAction, Text: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		d.know(func(f *reports.Facts) { f.Phases = append(f.Phases, reports.Phase{Name: "steady"}) })
		d.checkpoint()
	}
	wg.Wait()
	facts, err := reports.ReadFacts(d.Dir)
	if err != nil || len(facts.Remarks) != 40 {
		t.Errorf("%d remarks: %v", len(facts.Remarks), err)
	}
	d.facts.Remarks = make([]reports.Remark, mostRemarks)
	if _, err := d.take(reports.Remark{}); err == nil {
		t.Error("there is no bound")
	}
	if _, err := d.take(reports.Remark{By: reports.Runbook}); err != nil {
		t.Errorf("the runbook has no place: %v", err)
	}
	d.facts.Remarks = nil
	if err := d.finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.take(reports.Remark{}); err == nil {
		t.Error("a remark after the end was taken")
	}
	if err := record.CheckAudit(filepath.Join(d.Dir, record.AuditFile)); err != nil {
		t.Error(err)
	}
}

// TestFindRun: the drill that goes on, and which of several; a kept range is none, and one whose process has died is none either.
func TestFindRun(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", filepath.Join(t.TempDir(), strings.Repeat("long", 40)))
	if _, err := FindRun(""); err == nil {
		t.Error("nothing goes on, and was found")
	}
	add := func(id, name string, pid int) State {
		s, err := NewState(id, "/x")
		if err != nil {
			t.Fatal(err)
		}
		if s.Name = name; pid != 0 {
			s.PID = pid
		}
		if err := s.Write(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	add("kept", "default", 0)
	add("dead", "", 1<<22+1)
	one := add("one", "", 0)
	if got, err := FindRun(""); err != nil || got.ID != "one" {
		t.Errorf("%q, %v", got.ID, err)
	}
	l := Launch{State: one} // its socket lies deeper than the kernel's longest address
	if err := l.control(); err != nil || len(l.Listeners) != 1 {
		t.Fatal(err)
	}
	defer l.Listeners[0].Close()
	if err := one.Control(func(path string) error { _, err := os.Stat(path); return err }); err != nil {
		t.Error(err)
	}
	add("two", "", 0)
	if _, err := FindRun(""); err == nil || !strings.Contains(err.Error(), "one, two") {
		t.Errorf("of two: %v", err)
	}
	if got, err := FindRun("two"); err != nil || got.ID != "two" {
		t.Errorf("%q, %v", got.ID, err)
	}
	if err := one.Remove(); err != nil {
		t.Error(err)
	}
	if err := one.Control(func(path string) error { _, err := os.Stat(path); return err }); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}
