package stats

import (
	"math"
	"slices"
)

// Forecaster looks at a series as it comes and says when it will cross a limit, if its trend goes on. A season is taken out
// first; the trend is Theil and Sen's, and counts only when Mann and Kendall's test is sure of it and when what it adds
// until the crossing stands clear of the noise. So it is silent on noise, and on a wave that goes up and comes down.
type Forecaster struct {
	Limit   float64
	Falling bool    // the limit is below
	Step    float64 // seconds between values
	Season  int     // values in one season; 0: none
	Learn   bool    // the season is not known: at each look it is what the values up to then show
	Horizon float64 // seconds: a crossing further away is no alarm
}

// Alarm is a forecast that was sure enough to be said.
type Alarm struct {
	At     int     // index of the value after which it was said
	InTime float64 // seconds from then to the forecast crossing
}

const (
	ForecastWindow = 120 // values that the trend is read from
	parts          = 20  // means of the window that the test is made on: neighbours are no independent values
	sure           = 4.0 // standard deviations of Mann and Kendall's statistic
	standsOut      = 3.0 // the trend's growth over the window, in standard deviations of what is left
	confirms       = 3   // looks in a row that must agree
)

// First gives the first alarm, or false when there is none.
func (f Forecaster) First(values []float64) (Alarm, bool) {
	agreed := 0
	every := max(1, ForecastWindow/parts)
	for n := ForecastWindow; n <= len(values); n += every {
		if f.Learn {
			f.Season = SeasonOf(values[:n])
		}
		in, ok := f.at(values[:n])
		if !ok {
			agreed = 0
			continue
		}
		if agreed++; agreed == confirms {
			return Alarm{At: n - 1, InTime: in}, true
		}
	}
	return Alarm{}, false
}

// at forecasts from the end of values.
func (f Forecaster) at(values []float64) (seconds float64, ok bool) {
	last := values[len(values)-ForecastWindow:]
	crossed := func(v float64) bool { return v >= f.Limit != f.Falling }
	adjusted := slices.Clone(last)
	if f.Season > 1 {
		if len(values) < 2*f.Season+ForecastWindow {
			return 0, false // a season must be seen before it can be taken out
		}
		season := seasonal(values, f.Season)
		for i := range adjusted {
			adjusted[i] -= season[(len(values)-ForecastWindow+i)%f.Season]
		}
	}
	means := make([]float64, parts)
	for i := range means {
		means[i] = Mean(adjusted[i*ForecastWindow/parts : (i+1)*ForecastWindow/parts])
	}
	slope, kendall := theilSen(means)
	rising := slope > 0
	if rising == f.Falling || math.Abs(kendall) < sure || crossed(Median(adjusted[ForecastWindow-ForecastWindow/parts:])) {
		return 0, false
	}
	level := Median(means) + slope*float64(parts-1)/2
	left := make([]float64, parts)
	for i, m := range means {
		left[i] = m - (Median(means) + slope*(float64(i)-float64(parts-1)/2))
	}
	if growth := math.Abs(slope) * parts; growth < standsOut*math.Sqrt(variance(left)) {
		return 0, false
	}
	perSecond := slope / (f.Step * ForecastWindow / parts)
	seconds = (f.Limit - level) / perSecond
	return seconds, seconds > 0 && seconds <= f.Horizon
}

// seasonal is the mean of each place of the season, less a straight line through all, and sums to nothing.
func seasonal(values []float64, season int) []float64 {
	seasons := len(values) / season
	from := len(values) - seasons*season
	slope := (Mean(values[len(values)-season:]) - Mean(values[from:from+season])) / (float64(max(1, seasons-1)) * float64(season))
	sums, counts := make([]float64, season), make([]float64, season)
	for i := from; i < len(values); i++ {
		sums[i%season] += values[i] - slope*float64(i)
		counts[i%season]++
	}
	for i := range sums {
		sums[i] /= counts[i]
	}
	mean := Mean(sums)
	for i := range sums {
		sums[i] -= mean
	}
	return sums
}

// SeasonOf finds the length of a season in a series: the shift by which what is left after a straight line is most like itself. 0:
// there is none, or it was not seen three times.
func SeasonOf(values []float64) int {
	n := len(values)
	if n < 60 {
		return 0
	}
	slope := (Mean(values[n-n/4:]) - Mean(values[:n/4])) / float64(n-n/4)
	left := make([]float64, n)
	for i, v := range values {
		left[i] = v - slope*float64(i)
	}
	mean, spread := Mean(left), variance(left)
	if spread == 0 {
		return 0
	}
	best, season, fell := 0.6, 0, false // a season is clearly like itself, and unlike itself in between
	for lag := 10; lag <= n/3; lag++ {
		sum := 0.0
		for i := lag; i < n; i++ {
			sum += (left[i] - mean) * (left[i-lag] - mean)
		}
		r := sum / float64(n-lag) / spread
		fell = fell || r < 0
		if fell && r > best {
			best, season = r, lag
		}
	}
	return season
}

// theilSen is the median of all slopes, and Mann and Kendall's statistic in standard deviations.
func theilSen(v []float64) (slope, deviations float64) {
	var slopes []float64
	s := 0.0
	for i := range v {
		for j := i + 1; j < len(v); j++ {
			slopes = append(slopes, (v[j]-v[i])/float64(j-i))
			switch {
			case v[j] > v[i]:
				s++
			case v[j] < v[i]:
				s--
			}
		}
	}
	n := float64(len(v))
	return Median(slopes), s / math.Sqrt(n*(n-1)*(2*n+5)/18)
}
