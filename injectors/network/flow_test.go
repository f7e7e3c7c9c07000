package network

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target/unit"
)

// TestBounds draws samples of which the truth is known: the bounds must hold it in about 95 of 100, and be no wider than they need.
func TestBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const rounds = 400
	delay, rate, together := 0, 0, 0
	next := (&Delay{By: unit.Duration(50 * time.Millisecond), Jitter: unit.Duration(5 * time.Millisecond), Distribution: "normal", Correlation: 0.8}).fates(0)
	for range rounds {
		var f, linked flow
		for i := range 1000 {
			at := time.Duration(rng.Float64() * float64(time.Second)) // a Poisson stream, but for its ends
			f.at, f.order = append(f.at, at), append(f.order, uint32(i))
			f.delays = append(f.delays, 50*time.Millisecond+time.Duration(rng.NormFloat64()*float64(5*time.Millisecond)))
			linked.delays, linked.order = append(linked.delays, next().hold), append(linked.order, uint32(i))
		}
		f.received, f.bytes, f.took = 1000, 1000*100, time.Second
		low, high := f.delayBounds()
		if low < 50*time.Millisecond && 50*time.Millisecond < high {
			delay++
		}
		if low, high := linked.delayBounds(); low < 50*time.Millisecond && 50*time.Millisecond < high {
			together++
		}
		if width := high - low; width > 2*time.Millisecond {
			t.Fatalf("the median is bounded within %s", width)
		}
		// Fewer have come than would come on average, or more: the mean number is 1000 here, and its standard deviation √1000.
		from, to := f.rateBounds()
		if is := 800_000 * (1 + rng.NormFloat64()/math.Sqrt(1000)); from < is && is < to {
			rate++
		}
	}
	for name, held := range map[string]int{"delay": delay, "delays that hang together": together, "rate": rate} {
		if held < rounds*92/100 || held > rounds*985/1000 {
			t.Errorf("%s: the bounds hold the truth in %d of %d", name, held, rounds)
		}
	}
}

// TestCorrelation holds what a flow shows against what was asked for.
func TestCorrelation(t *testing.T) {
	for _, asked := range []unit.Ratio{0, 0.5, 0.9} {
		f := &Delay{By: unit.Duration(time.Second), Jitter: unit.Duration(50 * time.Millisecond), Distribution: "normal", Correlation: asked}
		var seen flow
		next := f.fates(0)
		for i := range 2000 {
			seen.delays, seen.order = append(seen.delays, next().hold), append(seen.order, uint32(i))
		}
		if is := seen.correlation(); math.Abs(is-float64(asked)) > 0.1 {
			t.Errorf("%.2f, asked was %s", is, asked)
		}
	}
}
