package scenarios

import (
	"maps"
	"path/filepath"
	"slices"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/stack"
)

// Platform is what the scenario brings up. What only one run has, as its secrets and paths, is left out.
func (s Scenario) Platform() (stack.Options, error) {
	defences, err := target.ProfileDefences(s.Target.Profile, s.Target.Defences)
	if err != nil {
		return stack.Options{}, err
	}
	out := stack.Options{Profile: s.Target.Profile, Defences: defences, Encoder: s.Target.Encoder}
	out.Drives, out.Replica = s.drives(), s.replica()
	c := s.Target.Canary
	if c.Share == 0 {
		return out, nil
	}
	own := maps.Clone(defences)
	maps.Copy(own, c.Defences)
	out.Canary = &stack.Canary{Share: float64(c.Share), Defences: own}
	if c.Program != "" {
		out.Canary.Program, err = filepath.Abs(c.Program)
	}
	return out, err
}

// replica tells whether MariaDB has one.
func (s Scenario) replica() bool {
	return s.Target.Replica || slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.On == stack.ReplicaName })
}

// drives are the components whose disk can be told what to do: those that are named, and those that a fault of the disk is put on.
func (s Scenario) drives() []string {
	out := slices.Clone(s.Target.Drives)
	for _, f := range s.Faults {
		if kind, ok := faultkinds.Find(f.Kind); ok && kind.Drive {
			out = append(out, f.On)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
