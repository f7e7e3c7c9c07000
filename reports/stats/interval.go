// Package stats holds the statistics by which runs are judged and compared: intervals, the bootstrap over windows, tests for
// two groups of runs, change points and forecasts. All of it is pure; what is random takes a seeded source.
package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// z is the standard normal quantile of a two-sided 95 % interval.
const z = 1.959963984540054

// Wilson gives the 95 % bounds of a share of good in n events (Wilson 1927). Where nothing or everything is good the bound
// on the open side is exact and one-sided: 1 − 0.05^(1/n), the zero-failure rule.
func Wilson(good, n float64) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	good = min(max(good, 0), n)
	p := good / n
	centre := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	low, high = max(0, centre-half), min(1, centre+half)
	switch good {
	case 0:
		low, high = 0, 1-math.Pow(0.05, 1/n)
	case n:
		low, high = math.Pow(0.05, 1/n), 1
	}
	return low, high
}

// ClopperPearson gives the exact 95 % bounds of a share of good in n trials (Clopper and Pearson 1934). They never promise
// too much, and are for a few trials that each cost a run.
func ClopperPearson(good, n float64) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	low, high = 0, 1
	if good > 0 {
		low = distuv.Beta{Alpha: good, Beta: n - good + 1}.Quantile(0.025)
	}
	if good < n {
		high = distuv.Beta{Alpha: good + 1, Beta: n - good}.Quantile(0.975)
	}
	return low, high
}

// MissBound is what the chance of a miss is at most, with 95 %, after so many missed of n trials (one-sided, exact).
func MissBound(missed, n float64) float64 {
	if missed >= n {
		return 1
	}
	return distuv.Beta{Alpha: missed + 1, Beta: n - missed}.Quantile(0.95)
}

// CleanTrials is how many trials without a failure prove, with 95 %, that the failure rate is at most rate.
func CleanTrials(rate float64) float64 {
	return math.Ceil(math.Log(0.05) / math.Log1p(-rate))
}

// QuantileRanks gives the shares of a sample of n between which the true q-quantile lies with 95 % (order statistics, by
// the normal approximation of the binomial). open is true when the sample is too small for a bound on that side.
func QuantileRanks(q, n float64) (low, high float64, openLow, openHigh bool) {
	half := z * math.Sqrt(q*(1-q)/n)
	low, high = q-half-0.5/n, q+half+0.5/n
	return max(low, 0), min(high, 1), low <= 0, high >= 1
}
