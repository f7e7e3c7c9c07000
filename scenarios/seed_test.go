package scenarios

import (
	"testing"

	"github.com/livedrill/livedrill/injectors/network"
)

// TestSeedReachesFaults: what a fault draws follows from the scenario's seed and its own id, unless it has a seed.
func TestSeedReachesFaults(t *testing.T) {
	seeds := func(seed string) (out [3]uint64) {
		s, err := Parse("seeds.yaml", []byte(`name: seeds
load:
  shop: {kind: http, rate: 10/s}
faults:
  - {at: 0s, inject: network.loss, on: edge-north}
  - {at: 0s, inject: network.loss, on: edge-south}
  - {at: 0s, inject: network.loss, on: gateway, with: {seed: 9}}
objectives:
  - api_error_ratio <= 5%
`), []string{"seed=" + seed})
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range s.Faults {
			f.drawBy(s.Seed)
			out[i] = f.Fault.(*network.Loss).Seed
		}
		return out
	}
	a, again, other := seeds("1"), seeds("1"), seeds("2")
	if a != again || a[0] == a[1] || a[0] == other[0] || a[1] == other[1] || a[2] != 9 || other[2] != 9 {
		t.Errorf("%v, again %v, with another seed %v", a, again, other)
	}
}
