package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// resamples is how many times the bootstrap draws.
const resamples = 1000

// fewest is how many windows the bootstrap needs to say anything.
const fewest = 5

// Bootstrap is what drawing whole windows again and again says about a value. Events of one window share their fate, so
// these bounds are the ones that hold when an outage is one event and not a thousand.
type Bootstrap struct {
	Low, High float64 // 95 % bounds; NaN with too few windows
	// DesignEffect is the variance over the one that independent events would have had: n events tell as much as
	// n ÷ DesignEffect independent ones. NaN where there is no variance to compare.
	DesignEffect float64
	Windows      int
}

// Window is what one stretch of a run adds to a ratio.
type Window struct{ Good, Total float64 }

// Ratio bootstraps a ratio over windows in the order of time: circular blocks of the cube root of their number (Politis and
// Romano 1992) keep what neighbours have in common.
func Ratio(windows []Window, rng *rand.Rand) Bootstrap {
	out := Bootstrap{Low: math.NaN(), High: math.NaN(), DesignEffect: math.NaN(), Windows: len(windows)}
	if len(windows) < fewest {
		return out
	}
	good, total := 0.0, 0.0
	for _, w := range windows {
		good, total = good+w.Good, total+w.Total
	}
	if total <= 0 {
		return out
	}
	values := make([]float64, 0, resamples)
	for range resamples {
		g, n := 0.0, 0.0
		blocks(len(windows), rng, func(i int) {
			g, n = g+windows[i].Good, n+windows[i].Total
		})
		if n > 0 {
			values = append(values, g/n)
		}
	}
	out.Low, out.High = percentiles(values)
	if p := good / total; p > 0 && p < 1 {
		out.DesignEffect = variance(values) / (p * (1 - p) / total)
	}
	return out
}

// Buckets is a histogram's windows: the upper bound of each bucket, lowest first, and for each window its counts.
type Buckets struct {
	Upper  []float64
	Lower  []float64
	Counts [][]float64
}

// Quantile bootstraps the q-quantile of a histogram over its windows.
func Quantile(b Buckets, q float64, rng *rand.Rand) Bootstrap {
	out := Bootstrap{Low: math.NaN(), High: math.NaN(), DesignEffect: math.NaN(), Windows: len(b.Counts)}
	if len(b.Counts) < fewest {
		return out
	}
	values := make([]float64, 0, resamples)
	sum := make([]float64, len(b.Upper))
	for range resamples {
		clear(sum)
		blocks(len(b.Counts), rng, func(i int) {
			for k, n := range b.Counts[i] {
				sum[k] += n
			}
		})
		if v := QuantileOf(b, sum, q); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	out.Low, out.High = percentiles(values)
	return out
}

// QuantileOf is the q-quantile of counts over the buckets' bounds, even within a bucket; NaN of nothing.
func QuantileOf(b Buckets, counts []float64, q float64) float64 {
	total := 0.0
	for _, n := range counts {
		total += n
	}
	rank := q * total
	for k, n := range counts {
		if n > 0 && rank <= n {
			return b.Lower[k] + (b.Upper[k]-b.Lower[k])*rank/n
		}
		rank -= n
	}
	return math.NaN()
}

// blocks draws as many places as there are, in circular blocks.
func blocks(n int, rng *rand.Rand, take func(int)) {
	length := max(1, int(math.Ceil(math.Cbrt(float64(n)))))
	for taken := 0; taken < n; {
		start := rng.IntN(n)
		for i := 0; i < length && taken < n; i++ {
			take((start + i) % n)
			taken++
		}
	}
}

func percentiles(values []float64) (low, high float64) { return between(values, 0.95) }

// between gives the bounds that the middle share of the values lies within.
func between(values []float64, share float64) (low, high float64) {
	if len(values) == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(values)
	at := func(q float64) float64 { return values[int(q*float64(len(values)-1)+0.5)] }
	return at((1 - share) / 2), at((1 + share) / 2)
}

// Mean is the arithmetic mean; NaN of nothing.
func Mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// Median is the middle value; NaN of nothing.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// variance is the sample variance.
func variance(v []float64) float64 {
	m, sum := Mean(v), 0.0
	for _, x := range v {
		sum += (x - m) * (x - m)
	}
	return sum / float64(len(v)-1)
}
