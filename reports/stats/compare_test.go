package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s is %.6g, want %.6g", what, got, want)
	}
}

// TestClopperPearson holds the bounds against R's binom.test.
func TestClopperPearson(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ good, n, low, high float64 }{
		{0, 10, 0, 0.3084971}, {10, 10, 0.6915029, 1}, {7, 10, 0.3475471, 0.9332605}, {12, 12, 0.7353515, 1},
	} {
		low, high := ClopperPearson(c.good, c.n)
		near(t, "low", low, c.low, 1e-6)
		near(t, "high", high, c.high, 1e-6)
	}
	near(t, "twelve good drills", MissBound(0, 12), 0.2209, 1e-4) // 1 − 0.05^(1/12)
	near(t, "three missed of three", MissBound(3, 3), 1, 0)
	if n := CleanTrials(0.001); n != 2995 { // 2,994 leave a rate of 0.0010000816
		t.Errorf("99.9 %% needs %g clean trials", n)
	}
	if n := CleanTrials(0.0001); n != 29956 {
		t.Errorf("99.99 %% needs %g clean trials", n)
	}
}

// TestWelch holds the test against R's t.test on Student's own sleep data.
func TestWelch(t *testing.T) {
	t.Parallel()
	a := []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}
	b := []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
	rng := rand.New(rand.NewPCG(1, 1))
	s := Compare(a, b, false, false, 0, rng)
	near(t, "estimate", s.Estimate, 1.58, 1e-9)
	near(t, "two-sided p", 2*s.Above, 0.07939, 1e-5)
	near(t, "low", s.Low, -0.2054832, 1e-6)
	near(t, "high", s.High, 3.3654832, 1e-6)
	p := Compare(a, b, true, false, 0, rng)
	near(t, "paired p", 2*p.Above, 0.002832890, 1e-7)
	near(t, "paired low", p.Low, 0.7001142, 1e-6)
	near(t, "signed ranks", p.RankP, 0.00390625, 1e-9) // exact for the nine pairs that differ
	if s.BootLow > s.Estimate || s.BootHigh < s.Estimate {
		t.Errorf("drawn again: %g to %g", s.BootLow, s.BootHigh)
	}
	three := Compare([]float64{1, 2, 3}, []float64{11, 12, 13}, false, false, 0, rng)
	near(t, "ranks of three", three.RankP, 0.1, 1e-9) // three runs a side can never reach 0.05
	near(t, "the least that they can give", three.LeastRankP, 0.1, 1e-9)
	near(t, "Cliff's delta", three.Effect, 1, 0)
}

// TestNeeded: how many more runs it takes depends on how far the shift is from what matters.
func TestNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ shift, low, high float64 }{{0.01, 11, 20}, {0.04, 120, 130}, {0.0499, 1000, 1000}, {0.051, 11, 20}, {0.1, 11, 11}} { // 4 %: 2 × (1.96 × 0.04 ÷ 0.01)² = 123
		s := Shift{Log: true, Estimate: c.shift, deviation: 0.04, size: 10}
		if n := float64(s.Needed(0.05, 0.004)); n < c.low || n > c.high {
			t.Errorf("a shift of %g needs %g runs, want %g to %g", c.shift, n, c.low, c.high)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	if n := Compare([]float64{1}, []float64{2}, false, true, 0, rng).Needed(0.05, 0.004); n != 0 {
		t.Errorf("one run a side says that %d would do", n)
	}
}

// TestSigns: values with one far out are skewed, values that climb drift, and noise does neither.
func TestSigns(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	noise, one, climbs := make([]float64, 40), make([]float64, 40), make([]float64, 40)
	for i := range noise {
		noise[i] = rng.NormFloat64()
		one[i], climbs[i] = noise[i], noise[i]+float64(i)/5
	}
	one[17] = 12
	for _, c := range []struct {
		name         string
		values       []float64
		skew, drifts bool
	}{{"noise", noise, false, false}, {"one far out", one, true, false}, {"a climb", climbs, false, true}} {
		skew, drift := shape(c.values)
		if math.Abs(skew) > 2*math.Sqrt(6./40) != c.skew || drift > 2/math.Sqrt(40) != c.drifts {
			t.Errorf("%s: skew %.2f, drift %.2f", c.name, skew, drift)
		}
	}
}

func TestHolm(t *testing.T) {
	t.Parallel()
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		near(t, "adjusted", Holm([]float64{0.01, 0.04, 0.03, 0.005})[i], want, 1e-12)
	}
}

// TestDesignEffect draws windows that share their fate, and windows that do not.
func TestDesignEffect(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 2))
	independent, outage := make([]Window, 200), make([]Window, 200)
	for i := range independent {
		independent[i].Total, outage[i].Total = 100, 100
		for range 100 {
			if rng.Float64() < 0.1 {
				independent[i].Good++
			}
		}
		if i >= 50 && i < 70 { // one outage of twenty windows
			outage[i].Good = 100
		}
	}
	a, b := Ratio(independent, rng), Ratio(outage, rng)
	if a.DesignEffect > 2 || a.DesignEffect < 0.4 {
		t.Errorf("independent events have a design effect of %g", a.DesignEffect)
	}
	if b.DesignEffect < 100 {
		t.Errorf("an outage has a design effect of %g", b.DesignEffect)
	}
	if b.High-b.Low < 3*(a.High-a.Low) {
		t.Errorf("an outage is bounded by %g to %g, independent events by %g to %g", b.Low, b.High, a.Low, a.High)
	}
	if few := Ratio(independent[:4], rng); !math.IsNaN(few.Low) {
		t.Errorf("four windows gave %+v", few)
	}
}

// TestBoundsCover counts how often the bounds of a share hold the true one, with few windows and many. Of windows that resemble their neighbours
// they hold it less often than they say, and no bounds from one short run can know: that is what repeated runs are for.
func TestBoundsCover(t *testing.T) {
	t.Parallel()
	const rounds = 600
	for _, c := range []struct {
		windows int
		alike   float64 // correlation of neighbours
		least   float64
	}{{5, 0, 0.91}, {7, 0, 0.92}, {10, 0, 0.91}, {20, 0, 0.93}, {50, 0, 0.93}, {7, 0.5, 0.75}, {10, 0.7, 0.66}, {20, 0.7, 0.69}, {50, 0.7, 0.78}} {
		t.Run(fmt.Sprintf("%d windows, %.1f", c.windows, c.alike), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(c.windows), uint64(100*c.alike)))
			held, wide := 0, 0.0
			for range rounds {
				windows, x := make([]Window, c.windows), rng.NormFloat64()
				for i := range windows {
					x = c.alike*x + math.Sqrt(1-c.alike*c.alike)*rng.NormFloat64()
					windows[i].Total = 100
					p := 1 / (1 + math.Exp(-x)) // half of them on the whole
					for range 100 {
						if rng.Float64() < p {
							windows[i].Good++
						}
					}
				}
				b := Ratio(windows, rng)
				if b.Low <= 0.5 && 0.5 <= b.High {
					held++
				}
				wide += (b.High - b.Low) / rounds
			}
			t.Logf("held in %.1f %%, %.2f wide", float64(held)/rounds*100, wide)
			if float64(held)/rounds < c.least {
				t.Errorf("the bounds held the true share in %d of %d samples", held, rounds)
			}
		})
	}
}

// TestBootstrapCovers counts how often the bounds hold the true quantile.
func TestBootstrapCovers(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	held := 0
	const rounds = 200
	for range rounds {
		b := Buckets{}
		for k := range 100 {
			b.Lower, b.Upper = append(b.Lower, float64(k)/100), append(b.Upper, float64(k+1)/100)
		}
		for range 40 {
			counts := make([]float64, 100)
			for range 50 {
				counts[rng.IntN(100)]++
			}
			b.Counts, b.Parts = append(b.Counts, counts), append(b.Parts, 0)
		}
		if q := Quantile(b, 0.9, rng); q.Low <= 0.9 && 0.9 <= q.High {
			held++
		}
	}
	if held < rounds*88/100 {
		t.Errorf("the bounds held the true value in %d of %d samples", held, rounds)
	}
}

func TestChangePoints(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 4))
	alarms := 0
	for range 50 {
		flat := make([]float64, 30)
		for i := range flat {
			flat[i] = 100 + rng.NormFloat64()
		}
		alarms += min(1, len(ChangePoints(flat, rng)))
	}
	if alarms > 3 {
		t.Errorf("%d of 50 flat series have a change", alarms)
	}
	v := make([]float64, 40)
	for i := range v {
		if v[i] = 100 + rng.NormFloat64(); i >= 25 {
			v[i] += 10
		}
	}
	if got := ChangePoints(v, rng); len(got) != 1 || got[0] < 24 || got[0] > 26 {
		t.Errorf("the change at 25 was found at %v", got)
	}
}

// TestForecast measures lead, precision and recall on seeded ramps, and wants silence on noise and on waves.
func TestForecast(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	const step, minutes = 5.0, 60.0 // a value every 5 s; seconds in a minute
	f := Forecaster{Limit: 90, Step: step, Horizon: 40 * minutes}
	found, early, leads := 0, 0, 0.0
	const ramps = 60
	for i := range ramps {
		// From 30 to the limit in 60 to 120 minutes, with noise.
		length := int((60 + 60*rng.Float64()) * minutes / step)
		v := make([]float64, length)
		noise := 1 + 3*rng.Float64()
		for k := range v {
			v[k] = 30 + 60*float64(k)/float64(length) + noise*rng.NormFloat64()
		}
		a, ok := f.First(v)
		if !ok {
			t.Logf("ramp %d was not seen", i)
			continue
		}
		found++
		lead := float64(length-a.At) * step
		leads += lead
		if lead >= 15*minutes {
			early++
		}
	}
	alarms := 0
	for range 200 {
		v := make([]float64, 720)
		for k := range v {
			v[k] = 60 + 5*rng.NormFloat64()
		}
		if _, ok := f.First(v); ok {
			alarms++
		}
	}
	t.Logf("recall %d of %d, 15 minutes ahead or more %d, mean lead %.1f minutes; %d alarms on 200 hours of flat noise; precision %.3f",
		found, ramps, early, leads/float64(found)/minutes, alarms, float64(found)/float64(found+alarms))
	if found < ramps*95/100 || early < ramps*95/100 || alarms > 0 {
		t.Errorf("recall %d of %d, %d in time, %d false alarms", found, ramps, early, alarms)
	}
	// A day's wave with a slow trend under it: the trend is found, the wave alone is not.
	wave := func(trend float64) []float64 {
		v := make([]float64, 1600)
		for k := range v {
			v[k] = 50 + 20*math.Sin(2*math.Pi*float64(k)/240) + rng.NormFloat64() + trend*float64(k)
		}
		return v
	}
	if got := SeasonOf(wave(0)[:960]); got < 230 || got > 250 {
		t.Errorf("the season of 240 was found to be %d", got)
	}
	noise := make([]float64, 960)
	for k := range noise {
		noise[k] = rng.NormFloat64()
	}
	if got := SeasonOf(noise); got != 0 {
		t.Errorf("noise has a season of %d", got)
	}
	s := Forecaster{Limit: 90, Step: step, Season: 240, Horizon: 120 * minutes}
	if a, ok := s.First(wave(0)); ok {
		t.Errorf("a wave that comes down again is an alarm at %d", a.At)
	}
	if _, ok := s.First(wave(0.02)); !ok {
		t.Error("a trend under a wave was not seen")
	}
}

func TestPoisson(t *testing.T) {
	t.Parallel()
	near(t, "P(X >= 10 | 4)", Poisson(10, 4), 0.008132243, 1e-8)
	near(t, "P(X >= 3 | 1000)", Poisson(3, 1000), 1, 1e-12)
	near(t, "P(X >= 1 | 2)", Poisson(1, 2), 1-math.Exp(-2), 1e-9)
}

// gateTrial draws the runs of a comparison: noise of a machine that both sides share, and noise of each run.
func gateTrial(rng *rand.Rand, n int, shift, noise float64) (a, b []float64) {
	for range n {
		shared := 0.05 * rng.NormFloat64()
		a = append(a, 100*math.Exp(shared+noise*rng.NormFloat64()))
		b = append(b, 100*math.Exp(shared+shift+noise*rng.NormFloat64()))
	}
	return a, b
}

// TestComparisonIsCalibrated counts false alarms of the test itself where there is no difference.
func TestComparisonIsCalibrated(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 6))
	const rounds = 2000
	alarms := 0
	for range rounds {
		a, b := gateTrial(rng, 10, 0, 0.03)
		if s := Compare(a, b, true, true, 0, rand.New(rand.NewPCG(1, 1))); s.Above < 0.05 {
			alarms++
		}
	}
	if alarms > rounds*65/1000 || alarms < rounds*35/1000 {
		t.Errorf("%d false alarms in %d comparisons at 5 %%", alarms, rounds)
	}
}
