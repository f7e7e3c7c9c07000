package scenarios

import (
	"reflect"
	"strings"
	"testing"

	"github.com/livedrill/livedrill/target/stack"
)

// TestTheControlHasTheSamePlatform leaves the faults out of every scenario that ships: what is brought up stays what it was, drives and replica and
// all, and the plan says so.
func TestTheControlHasTheSamePlatform(t *testing.T) {
	for _, name := range Names() {
		file, text, err := Read(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(file, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		with := inventory(t, s)
		s.LeaveFaultsOut()
		without := inventory(t, s)
		if !reflect.DeepEqual(with, without) {
			t.Errorf("%s: with faults %+v, without %+v", name, with, without)
		}
		var plan strings.Builder
		if err := s.WritePlan(&plan); err != nil {
			t.Fatal(err)
		}
		for what, want := range map[string]bool{"by way of FUSE": name == "bad-disk", stack.ReplicaName + ", which": name == "stale-replica"} {
			if got := strings.Contains(plan.String(), what); got != want {
				t.Errorf("%s: the plan speaks of %q: %v", name, what, got)
			}
		}
	}
}

func inventory(t *testing.T, s Scenario) stack.Inventory {
	t.Helper()
	o, err := s.Platform()
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
