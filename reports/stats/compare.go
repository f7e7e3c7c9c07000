package stats

import (
	"math"
	"math/rand/v2"
	"slices"

	mm "github.com/aclements/go-moremath/stats"
	"gonum.org/v1/gonum/stat/distuv"
)

// Shift is how far b lies from a: as a difference of logarithms, so that 0.1 is 10 % more (Log), or as a plain difference.
// P values are one-sided for b above a and, in Below, for b below a.
type Shift struct {
	Log        bool
	Paired     bool
	Estimate   float64 // of the mean
	Low, High  float64 // 95 %, Welch or paired t
	BootLow    float64 // 95 %, by drawing runs again
	BootHigh   float64
	Above      float64 // P of a shift this high or higher where there is none
	Below      float64
	RankP      float64 // two-sided: Mann and Whitney, or Wilcoxon's signed ranks for pairs
	LeastRankP float64 // the smallest RankP that samples of this size can give at all
	Effect     float64 // Cliff's delta: P(b > a) − P(b < a)
	Skew       float64 // of what is tested: the differences of pairs, or each side about its mean; NaN below eight
	Drift      float64 // correlation of each of them with the one before; NaN below eight
	Whole      float64 // Estimate with every run in it
	// Outlying: some logarithms lie so far out that the means are those without a fifth at either end, and the test is Yuen's (1974). Which
	// side they are on plays no part in it. Of plain differences, which may be of shares, those that lie far out are what is looked for.
	Outlying  bool
	Constant  bool    // every value of both sides is the same
	deviation float64 // of one pair, or the pooled one of one run
	size      int
}

// Compare tests two groups of runs. Pairs are runs that were made side by side: a[i] with b[i]. The variance of the difference of their
// means is at least floor: what the events within the runs leave open, however alike the runs came out. Without rng there are no bootstrap
// bounds.
func Compare(a, b []float64, paired, log bool, floor float64, rng *rand.Rand) Shift {
	s := Shift{Log: log, Paired: paired, size: min(len(a), len(b)), Effect: cliff(a, b)}
	nan := math.NaN()
	for _, v := range []*float64{&s.Low, &s.High, &s.BootLow, &s.BootHigh, &s.Above, &s.Below, &s.RankP, &s.LeastRankP, &s.Skew, &s.Drift} {
		*v = nan
	}
	both := slices.Concat(a, b)
	s.Constant = slices.Min(both) == slices.Max(both)
	x, y := slices.Clone(a), slices.Clone(b)
	if log {
		for i := range x {
			x[i] = math.Log(x[i])
		}
		for i := range y {
			y[i] = math.Log(y[i])
		}
	}
	s.Whole = Mean(y) - Mean(x)
	if s.Estimate = s.Whole; len(a) < 2 || len(b) < 2 || paired && len(a) != len(b) {
		return s
	}
	var se, df float64
	var d []float64
	if paired {
		d = make([]float64, len(x))
		for i := range x {
			d[i] = y[i] - x[i]
		}
		s.Outlying = log && outlying(d, len(d))
		mean, v, n := centre(d, s.Outlying)
		s.Estimate, se, df = mean, math.Sqrt(v), n-1
		s.RankP, s.LeastRankP = signedRanks(d)
		s.Skew, s.Drift = shape(d)
		s.BootLow, s.BootHigh = redraw(rng, func(draw func(int) int) float64 {
			return redrawn(d, s.Outlying, draw)
		})
	} else {
		all := slices.Concat(x, y)
		middle := Median(all)
		for i := range all {
			all[i] -= middle
		}
		s.Outlying = log && outlying(all, min(len(x), len(y)))
		mx, vx, nx := centre(x, s.Outlying)
		my, vy, ny := centre(y, s.Outlying)
		s.Estimate, se = my-mx, math.Sqrt(vx+vy)
		df = (vx + vy) * (vx + vy) / (vx*vx/(nx-1) + vy*vy/(ny-1)) // Welch and Satterthwaite
		if r, err := mm.MannWhitneyUTest(x, y, mm.LocationDiffers); err == nil {
			s.RankP = r.P
		} else {
			s.RankP = 1 // all values are the same
		}
		s.LeastRankP = min(1, 2/binomial(len(x)+len(y), len(x)))
		s.Skew, s.Drift = shape(append(centred(x), centred(y)...))
		s.BootLow, s.BootHigh = redraw(rng, func(draw func(int) int) float64 {
			return redrawn(y, s.Outlying, draw) - redrawn(x, s.Outlying, draw)
		})
	}
	least := math.Sqrt(floor)
	if se == 0 || math.IsNaN(df) || z*least > (distuv.StudentsT{Sigma: 1, Nu: df}).Quantile(0.975)*se {
		se, df = max(se, least), 1e6 // what the events leave open is known without looking at the runs
	}
	s.deviation = se / math.Sqrt(1/float64(len(a))+1/float64(len(b)))
	if paired {
		s.deviation = se * math.Sqrt(float64(len(d)))
	}
	if se == 0 { // every run of a side gave the same: chance is what is left of their order
		s.Low, s.High = s.Estimate, s.Estimate
		s.Above, s.Below = 1, 1
		if s.Estimate > 0 {
			s.Above = s.LeastRankP / 2
		} else if s.Estimate < 0 {
			s.Below = s.LeastRankP / 2
		}
		return s
	}
	t := distuv.StudentsT{Sigma: 1, Nu: df}
	s.Above, s.Below = t.Survival(s.Estimate/se), t.CDF(s.Estimate/se)
	half := t.Quantile(0.975) * se
	s.Low, s.High = s.Estimate-half, s.Estimate+half
	return s
}

// Most is the largest number of runs that Needed looks for.
const Most = 1000

// Needed is how many runs a side (or pairs) would settle, if the runs to come are like those that there are, whether the shift is at
// least delta: that its 95 % interval is within it, or that chance does not explain it (alpha, one-sided). 0: the runs do not
// say; Most: as many, or more.
func (s Shift) Needed(delta, alpha float64) int {
	if math.IsNaN(s.deviation) || s.deviation == 0 || s.size < 2 {
		return 0
	}
	factor := 2.0
	if s.Paired {
		factor = 1
	}
	for n := s.size + 1; n < Most; n++ {
		t := distuv.StudentsT{Sigma: 1, Nu: factor * float64(n-1)}
		se, far := s.deviation*math.Sqrt(factor/float64(n)), math.Abs(s.Estimate)
		if far+t.Quantile(0.975)*se <= delta || far > delta && far >= t.Quantile(1-alpha)*se {
			return n
		}
	}
	return Most
}

// redrawn is the centre of values that are drawn again.
func redrawn(v []float64, trimmed bool, draw func(int) int) float64 {
	if !trimmed {
		sum := 0.0
		for range v {
			sum += v[draw(len(v))]
		}
		return sum / float64(len(v))
	}
	again := make([]float64, len(v))
	for i := range again {
		again[i] = v[draw(len(v))]
	}
	mean, _, _ := centre(again, trimmed)
	return mean
}

// outlying tells whether the farthest of eight distances or more is over six times the middle one: of as many normal ones it is three times.
// A side has to have values to spare.
func outlying(d []float64, side int) bool {
	far := make([]float64, len(d))
	for i, x := range d {
		far[i] = math.Abs(x)
	}
	return len(d) >= 8 && side >= 5 && slices.Max(far) > 6*Median(far)
}

// centre is the mean of values, its variance, and how many values it is of: of all, or without a fifth at either end. Of those the
// variance is Tukey and McLaughlin's: that of the values with the outer ones drawn in to the nearest that are left.
func centre(v []float64, trimmed bool) (mean, ofMean, n float64) {
	cut := 0
	if trimmed {
		cut = len(v) / 5
	}
	drawn := slices.Sorted(slices.Values(v))
	inner := drawn[cut : len(drawn)-cut]
	mean, n = Mean(inner), float64(len(inner))
	for i := range cut {
		drawn[i], drawn[len(drawn)-1-i] = drawn[cut], drawn[len(drawn)-1-cut]
	}
	return mean, variance(drawn) * float64(len(v)-1) / (n * (n - 1)), n
}

// centred is what is left of values without their mean.
func centred(v []float64) []float64 {
	m, out := Mean(v), make([]float64, len(v))
	for i, x := range v {
		out[i] = x - m
	}
	return out
}

// shape is how skewed values are, and how much each resembles the one before.
func shape(v []float64) (skew, drift float64) {
	v = centred(v)
	two, three, next := 0.0, 0.0, 0.0
	for i, x := range v {
		two, three = two+x*x, three+x*x*x
		if i > 0 {
			next += x * v[i-1]
		}
	}
	if len(v) < 8 || two == 0 {
		return math.NaN(), math.NaN()
	}
	n := float64(len(v))
	return three / n / math.Pow(two/n, 1.5), next / two
}

// Holm adjusts P values of many tests so that the chance of any false alarm among them stays what it is for one (Holm 1979).
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case p[i] < p[j]:
			return -1
		case p[i] > p[j]:
			return 1
		}
		return i - j
	})
	out, before := make([]float64, len(p)), 0.0
	for rank, i := range order {
		before = max(before, min(1, p[i]*float64(len(p)-rank)))
		out[i] = before
	}
	return out
}

func cliff(a, b []float64) float64 {
	more := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case y > x:
				more++
			case y < x:
				more--
			}
		}
	}
	return more / float64(len(a)*len(b))
}

// signedRanks is Wilcoxon's test for pairs, exact for up to 20 of them by walking all signs, normal beyond.
func signedRanks(d []float64) (p, least float64) {
	var v []float64
	for _, x := range d {
		if x != 0 {
			v = append(v, x)
		}
	}
	n := len(v)
	least = min(1, 2*math.Pow(0.5, float64(len(d))))
	if n == 0 {
		return 1, least
	}
	slices.SortFunc(v, func(x, y float64) int {
		switch {
		case math.Abs(x) < math.Abs(y):
			return -1
		case math.Abs(x) > math.Abs(y):
			return 1
		}
		return 0
	})
	ranks, plus := make([]float64, n), 0.0
	for i := 0; i < n; {
		j := i
		for j < n && math.Abs(v[j]) == math.Abs(v[i]) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = float64(i+j+1) / 2 // ties share their rank
			if v[k] > 0 {
				plus += ranks[k]
			}
		}
		i = j
	}
	mean := float64(n*(n+1)) / 4
	far := math.Abs(plus-mean) - 1e-9
	if n > 20 {
		sum := 0.0
		for _, r := range ranks {
			sum += r * r
		}
		return min(1, 2*distuv.UnitNormal.Survival(far/math.Sqrt(sum/4))), least
	}
	// Twice the ranks are whole numbers, so the distribution of their sum is a table.
	table := map[int]float64{0: 1}
	for _, r := range ranks {
		next := make(map[int]float64, 2*len(table))
		for sum, ways := range table {
			next[sum] += ways / 2
			next[sum+int(2*r)] += ways / 2
		}
		table = next
	}
	for sum, share := range table {
		if math.Abs(float64(sum)/2-mean) >= far {
			p += share
		}
	}
	return min(1, p), least
}

func redraw(rng *rand.Rand, once func(draw func(int) int) float64) (low, high float64) {
	if rng == nil {
		return math.NaN(), math.NaN()
	}
	values := make([]float64, resamples)
	for i := range values {
		values[i] = once(rng.IntN)
	}
	return percentiles(values)
}

func binomial(n, k int) float64 {
	out := 1.0
	for i := 1; i <= k; i++ {
		out *= float64(n-k+i) / float64(i)
	}
	return out
}
