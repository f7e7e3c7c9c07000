package stats

import (
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// ChangePoints finds the places in a series at which its level changes for good: the place that splits it best is kept when
// fewer than 1 of 100 shufflings of the series split as well, and both sides are looked at again (binary segmentation with a
// permutation test). Each place is the index of the first value of the new level.
func ChangePoints(v []float64, rng *rand.Rand) []int {
	return split(v, 0, rng)
}

const (
	shuffles = 400
	shortest = 3 // values on each side of a change
)

func split(v []float64, offset int, rng *rand.Rand) []int {
	at, gain := bestSplit(v)
	if at == 0 {
		return nil
	}
	shuffled := append([]float64(nil), v...)
	asGood := 0
	for range shuffles {
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if _, g := bestSplit(shuffled); g >= gain-1e-12 {
			asGood++
		}
	}
	if float64(asGood+1)/(shuffles+1) > 0.01 {
		return nil
	}
	out := split(v[:at], offset, rng)
	out = append(out, offset+at)
	return append(out, split(v[at:], offset+at, rng)...)
}

// bestSplit is where the sum of squares falls most, on ranks: one wild value is no change of level.
func bestSplit(v []float64) (at int, gain float64) {
	if len(v) < 2*shortest {
		return 0, 0
	}
	ranks := ranksOf(v)
	total := 0.0
	for _, r := range ranks {
		total += r
	}
	sum := 0.0
	n := float64(len(v))
	for i := range len(v) - shortest {
		sum += ranks[i]
		k := float64(i + 1)
		if i+1 < shortest {
			continue
		}
		d := sum/k - (total-sum)/(n-k)
		if g := d * d * k * (n - k) / n; g > gain {
			at, gain = i+1, g
		}
	}
	return at, gain
}

func ranksOf(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		for _, y := range v {
			if y < x {
				out[i]++
			} else if y == x {
				out[i] += 0.5
			}
		}
	}
	return out
}

// Poisson gives the chance of seeing at least n events where mean are usual.
func Poisson(n, mean float64) float64 {
	if n <= 0 {
		return 1
	}
	if mean <= 0 {
		return 0
	}
	return distuv.Poisson{Lambda: mean}.Survival(n - 1)
}
