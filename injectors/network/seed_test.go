package network

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

// TestSameSeedSamePackets: what is late or hurt is the same in each run with the same seed, and another one with another.
func TestSameSeedSamePackets(t *testing.T) {
	streams := map[string]func(seed uint64) func() fate{
		"jitter": func(seed uint64) func() fate {
			return (&Delay{By: unit.Duration(50 * time.Millisecond), Jitter: unit.Duration(10 * time.Millisecond), Distribution: "pareto",
				Correlation: 0.3, Drawn: injectors.Drawn{Seed: seed}}).fates(0)
		},
		"corrupt": func(seed uint64) func() fate {
			return (&single{Share: 0.1, Drawn: injectors.Drawn{Seed: seed}}).pick(fate{hurt: true}, 0)
		},
	}
	for name, stream := range streams {
		a, b, other := stream(1), stream(1), stream(2)
		same, different := 0, 0
		for range 1000 {
			x := a()
			if x == b() {
				same++
			}
			if x != other() {
				different++
			}
		}
		if same != 1000 || different == 0 {
			t.Errorf("%s: %d of 1000 are the same with one seed, %d differ with another", name, same, different)
		}
	}
}

// TestPattern holds what is drawn against what was asked for: the share to the packet, and as many in a row as in Gilbert's model, whose runs
// have a geometric length: with a mean b its standard deviation is √(b(b-1)).
func TestPattern(t *testing.T) {
	for _, c := range []struct{ share, inRow float64 }{{0.02, 1}, {0.2, 1}, {0.05, 2}, {0.2, 5}, {0.5, 10}, {0.2, 50}, {0.9, 9}, {0.66666, 2}, {0.90909, 10}} {
		var runs []int
		for seed := range uint64(100) {
			p, at := draw(c.share, c.inRow, seed), 0
			if !slices.Equal(p, draw(c.share, c.inRow, seed)) || slices.Equal(p, draw(c.share, c.inRow, seed+1)) {
				t.Fatalf("%+v: the seed does not say which packets", c)
			}
			hits := 0
			for i, hit := range p {
				if !hit {
					continue
				}
				if hits++; i == 0 || !p[i-1] {
					runs, at = append(runs, 0), len(runs)
				}
				runs[at]++
			}
			if hits != int(c.share*float64(len(p))+0.5) {
				t.Errorf("%+v: %d of %d packets", c, hits, len(p))
			}
		}
		mean, spread := 0.0, 0.0
		for _, n := range runs {
			mean += float64(n) / float64(len(runs))
		}
		for _, n := range runs {
			spread += (float64(n) - mean) * (float64(n) - mean) / float64(len(runs))
		}
		if c.inRow > 1 && (math.Abs(mean-c.inRow) > 0.1*c.inRow || math.Abs(math.Sqrt(spread)-math.Sqrt(c.inRow*(c.inRow-1))) > 0.15*c.inRow) {
			t.Errorf("%+v: runs of %.2f ± %.2f", c, mean, math.Sqrt(spread))
		}
	}
}

// TestKernelCounts looks at single packets of a probe: those that are lost are those of the pattern, in each direction, but for
// the few places that other packets on the link have taken.
func TestKernelCounts(t *testing.T) {
	r := hoststest.Range(t)
	for i, f := range []*Loss{
		{Share: 0.2, Direction: Both, Burst: 1, Drawn: injectors.Drawn{Seed: 7}},
		{Share: 0.7, Direction: Both, Burst: 4, Drawn: injectors.Drawn{Seed: 8}},
	} {
		host, err := r.AddHost(fmt.Sprintf("counted%d", i))
		if err != nil {
			t.Fatal(err)
		}
		on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
		if err := f.Inject(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		toHost, fromHost, err := probe(t.Context(), on.Handles.Network, probePackets, probeSize, probeTime)
		if err != nil {
			t.Fatal(err)
		}
		for way, seen := range []flow{fromHost, toHost} { // as the ends stand
			want := draw(float64(f.Share), f.Burst, f.Seed+uint64(way))
			lost := make(pattern, probePackets)
			for i := range lost {
				lost[i] = !slices.Contains(seen.order, uint32(i))
			}
			at, others := 0, 0
			for _, l := range lost {
				for want[at] != l && others < 20 { // another packet was counted in between
					at, others = at+1, others+1
				}
				at++
			}
			if others == 20 {
				t.Errorf("%+v: what is lost of %d packets is not what the pattern says", f, len(lost))
			}
		}
		if err := f.Restore(context.WithoutCancel(t.Context()), on, nil); err != nil {
			t.Fatal(err)
		}
	}
}
