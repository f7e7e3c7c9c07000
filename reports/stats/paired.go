package stats

import (
	"math"
	"math/rand/v2"
)

// Duet is the difference between two arms that ran side by side, b less a, with bounds by drawing the windows that they share:
// what the machine did in a window it did to both.
type Duet struct{ Difference, Low, High float64 }

// DuetRatio compares two ratios over the same windows.
func DuetRatio(a, b []Window, level float64, rng *rand.Rand) Duet {
	n := min(len(a), len(b))
	share := func(w []Window, take func(func(int))) float64 {
		good, total := 0.0, 0.0
		take(func(i int) { good, total = good+w[i].Good, total+w[i].Total })
		return good / total
	}
	return duet(n, level, rng, func(take func(func(int))) float64 { return share(b, take) - share(a, take) })
}

// DuetQuantile compares a quantile of two histograms over the same windows, as the logarithm of their ratio.
func DuetQuantile(a, b Buckets, q float64, level float64, rng *rand.Rand) Duet {
	n := min(len(a.Counts), len(b.Counts))
	of := func(h Buckets, take func(func(int))) float64 {
		sum := make([]float64, len(h.Upper))
		take(func(i int) {
			for k, c := range h.Counts[i] {
				sum[k] += c
			}
		})
		return math.Log(QuantileOf(h, sum, q))
	}
	return duet(n, level, rng, func(take func(func(int))) float64 { return of(b, take) - of(a, take) })
}

// duet evaluates a difference over all windows, and over windows drawn again and again; both arms draw the same ones.
func duet(n int, level float64, rng *rand.Rand, difference func(take func(func(int))) float64) Duet {
	out := Duet{math.NaN(), math.NaN(), math.NaN()}
	if n < fewest {
		return out
	}
	out.Difference = difference(func(one func(int)) {
		for i := range n {
			one(i)
		}
	})
	var values []float64
	drawn := make([]int, 0, n)
	for range resamples {
		drawn = drawn[:0]
		blocks(n, rng, func(i int) { drawn = append(drawn, i) })
		v := difference(func(one func(int)) {
			for _, i := range drawn {
				one(i)
			}
		})
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	low, high := between(values, level)
	wider := strataOf(n, func(int) int { return 0 }).stretch()
	out.Low, out.High = out.Difference-wider*(out.Difference-low), out.Difference+wider*(high-out.Difference)
	return out
}
