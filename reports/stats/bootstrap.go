package stats

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
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

// Window is what one stretch of a run adds to a ratio. Part is the part of the run that it belongs to: what differs from part to part
// was done on purpose, and is no chance.
type Window struct {
	Good, Total float64
	Part        int
}

// Ratio bootstraps a ratio over windows in the order of time: within each part of the run circular blocks of the cube root of their
// number (Politis and Romano 1992) keep what neighbours have in common.
func Ratio(windows []Window, rng *rand.Rand) Bootstrap {
	out := Bootstrap{Low: math.NaN(), High: math.NaN(), DesignEffect: math.NaN(), Windows: len(windows)}
	of := strataOf(len(windows), func(i int) int { return windows[i].Part })
	p, total := share(windows)
	if of.free() < fewest-1 || math.IsNaN(p) {
		return out
	}
	values := of.redrawn(windows, rng)
	low, high := percentiles(values)
	wider := of.stretch()
	out.Low, out.High = max(0, p-wider*(p-low)), min(1, p+wider*(high-p))
	if p > 0 && p < 1 {
		out.DesignEffect = variance(values) / (p * (1 - p) / total)
	}
	return out
}

// share is the ratio of all windows together, and what they hold; NaN of nothing.
func share(windows []Window) (ratio, total float64) {
	good := 0.0
	for _, w := range windows {
		good, total = good+w.Good, total+w.Total
	}
	return good / total, total
}

// strata are the windows of each part of a run, from one place to another.
type strata [][2]int

func strataOf(n int, part func(int) int) (out strata) {
	for i := range n {
		if i == 0 || part(i) != part(i-1) {
			out = append(out, [2]int{i, i})
		}
		out[len(out)-1][1]++
	}
	return out
}

// free is how many windows say something beside what their part is like.
func (p strata) free() (n int) {
	for _, of := range p {
		n += of[1] - of[0] - 1
	}
	return n
}

// draw takes as many windows of each part as it has, in blocks.
func (p strata) draw(rng *rand.Rand, take func(int)) {
	for _, of := range p {
		blocks(of[1]-of[0], rng, func(i int) { take(of[0] + i) })
	}
}

// redrawn is the ratio of windows that are drawn again and again.
func (p strata) redrawn(windows []Window, rng *rand.Rand) []float64 {
	values := make([]float64, 0, resamples)
	for range resamples {
		g, n := 0.0, 0.0
		p.draw(rng, func(i int) {
			g, n = g+windows[i].Good, n+windows[i].Total
		})
		if n > 0 {
			values = append(values, g/n)
		}
	}
	return values
}

// stretch is by how much bounds that were drawn from few windows must be wider: blocks that overlap make the scatter too small by their share
// of the windows, and a normal quantile is not Student's.
func (p strata) stretch() float64 {
	windows, left := 0, 0
	for _, of := range p {
		if n := of[1] - of[0]; n > 1 {
			windows, left = windows+n, left+n-block(n)
		}
	}
	return distuv.StudentsT{Sigma: 1, Nu: float64(p.free())}.Quantile(0.975) / z * math.Sqrt(float64(windows)/float64(left))
}

// Buckets is a histogram's windows: the upper bound of each bucket, lowest first, and for each window its counts and the part of
// the run that it belongs to.
type Buckets struct {
	Upper  []float64
	Lower  []float64
	Counts [][]float64
	Parts  []int
}

// Quantile bounds the q-quantile of a histogram by what the bootstrap over its windows says of the share of events below it: what it is of
// as many events as that share may be, at least and at most (Woodruff 1952).
func Quantile(b Buckets, q float64, rng *rand.Rand) Bootstrap {
	out := Bootstrap{Low: math.NaN(), High: math.NaN(), DesignEffect: math.NaN(), Windows: len(b.Counts)}
	sum := make([]float64, len(b.Upper))
	for _, counts := range b.Counts {
		for k, n := range counts {
			sum[k] += n
		}
	}
	at := QuantileOf(b, sum, q)
	if math.IsNaN(at) {
		return out
	}
	below := make([]Window, len(b.Counts))
	for i, counts := range b.Counts {
		below[i].Part = b.Parts[i]
		for k, n := range counts {
			below[i].Total += n
			below[i].Good += n * min(max((at-b.Lower[k])/(b.Upper[k]-b.Lower[k]), 0), 1)
		}
	}
	share := Ratio(below, rng)
	out.DesignEffect = share.DesignEffect
	out.Low, out.High = QuantileOf(b, sum, share.Low), QuantileOf(b, sum, share.High)
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

// block is how many of n windows are drawn together.
func block(n int) int { return min(max(1, int(math.Ceil(math.Cbrt(float64(n))))), max(1, n-1)) }

// blocks draws as many places as there are, in circular blocks.
func blocks(n int, rng *rand.Rand, take func(int)) {
	length := block(n)
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
