package stats

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// TestWilson holds the bounds against values from the literature (Newcombe 1998, method 3) and the zero-failure rule.
func TestWilson(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ good, n, low, high float64 }{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{1, 29, 0.0061, 0.1718},
		{0, 2994, 0, 0.001},
		{29956, 29956, 0.9999, 1},
	} {
		low, high := Wilson(c.good, c.n)
		if math.Abs(low-c.low) > 6e-5 || math.Abs(high-c.high) > 6e-5 {
			t.Errorf("%g of %g: [%.4f, %.4f], want [%.4f, %.4f]", c.good, c.n, low, high, c.low, c.high)
		}
	}
}

// TestQuantileRanksCover draws samples with a known median and 95th percentile and counts how often the bounds hold them.
func TestQuantileRanksCover(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, q := range []float64{0.5, 0.95} {
		const n, rounds = 400, 2000
		covered := 0
		for range rounds {
			sample := make([]float64, n)
			for i := range sample {
				sample[i] = rng.Float64() // its q-quantile is q
			}
			sort.Float64s(sample)
			low, high, _, _ := QuantileRanks(q, n)
			if sample[int(low*n)] <= q && q <= sample[min(n-1, int(math.Ceil(high*n))-1)] {
				covered++
			}
		}
		if share := float64(covered) / rounds; share < 0.94 {
			t.Errorf("the bounds of p%g hold the true value in %.1f%% of samples", q*100, share*100)
		}
	}
	if _, _, _, open := QuantileRanks(0.99, 100); !open {
		t.Error("100 samples cannot bound a 99th percentile from above")
	}
}
