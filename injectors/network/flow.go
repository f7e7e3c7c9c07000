package network

import (
	"math"
	"slices"
	"time"

	"github.com/livedrill/livedrill/reports/stats"
)

// flow is what a probe saw in one direction of a link.
type flow struct {
	sent, received uint64
	bytes          uint64
	took           time.Duration   // from the first to the last packet that arrived
	at             []time.Duration // of each that arrived, from the first on
	delays         []time.Duration
	order          []uint32 // the packets' numbers as they arrived
}

func (f flow) offered() uint64 { return f.sent }
func (f flow) arrived() uint64 { return f.received }

// missing counts the packets that did not arrive, not even once.
func (f flow) missing() uint64 { return f.sent - min(f.received-f.duplicates(), f.sent) }

func (f flow) loss() float64 { return float64(f.missing()) / float64(max(f.sent, 1)) }

// total adds up what the flows have of something.
func total(flows []flow, count func(flow) uint64) (n uint64) {
	for _, f := range flows {
		n += count(f)
	}
	return n
}

// rate is the rate at which bytes arrived, in bits per second.
func (f flow) rate() float64 {
	if f.took <= 0 {
		return 0
	}
	return float64(f.bytes) * 8 / f.took.Seconds()
}

// rateBounds are the 95 % bounds of that rate (Student's), by how much it differs between the twentieths of the time.
func (f flow) rateBounds() (low, high float64) {
	const parts, t = 20, 2.093 // of 19 degrees of freedom
	if f.took <= 0 {
		return 0, 0
	}
	var n [parts]float64
	for _, at := range f.at {
		n[min(int(parts*at/f.took), parts-1)]++
	}
	mean, squares := float64(f.received)/parts, 0.0
	for _, v := range n {
		squares += (v - mean) * (v - mean)
	}
	width := t * math.Sqrt(squares/(parts-1)/parts) / mean * f.rate()
	return max(f.rate()-width, 0), f.rate() + width
}

// delayBounds are the 95 % bounds of the median, whatever the delays' distribution. Delays that hang together are worth fewer.
func (f flow) delayBounds() (low, high time.Duration) {
	sorted := slices.Sorted(slices.Values(f.delays))
	if len(sorted) == 0 {
		return 0, 0
	}
	r := max(f.correlation(), 0)
	from, to, _, _ := stats.QuantileRanks(0.5, float64(len(sorted))*(1-r)/(1+r))
	at := func(share float64) time.Duration { return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)] }
	return at(from), at(to)
}

// correlation is how much a packet's delay is that of the one before (Pearson's, at a distance of one).
func (f flow) correlation() float64 {
	by := map[uint32]float64{}
	mean := 0.0
	for i, number := range f.order {
		by[number] = f.delays[i].Seconds()
		mean += f.delays[i].Seconds() / float64(len(f.order))
	}
	var product, square, pairs float64
	for number, d := range by {
		square += (d - mean) * (d - mean)
		if before, ok := by[number-1]; ok {
			product += (d - mean) * (before - mean)
			pairs++
		}
	}
	return product / max(pairs, 1) / max(square/float64(max(len(by), 1)), 1e-18)
}

// quartiles are the delays that a quarter, half and three quarters of the packets stayed below.
func (f flow) quartiles() (low, median, high time.Duration) {
	if len(f.delays) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(f.delays))
	n := len(sorted)
	return sorted[n/4], sorted[n/2], sorted[min(3*n/4, n-1)]
}

// overtaken counts the packets that arrived behind a later one.
func (f flow) overtaken() (n uint64) {
	latest := uint32(0)
	for _, i := range f.order {
		if i < latest {
			n++
		}
		latest = max(latest, i)
	}
	return n
}

// duplicates counts the packets that arrived again.
func (f flow) duplicates() (n uint64) {
	sorted := slices.Sorted(slices.Values(f.order))
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			n++
		}
	}
	return n
}

// burst is the mean number of packets that were lost in a row; packets are known by their numbers.
func (f flow) burst() float64 {
	arrived := make([]bool, f.sent)
	for _, i := range f.order {
		if int(i) < len(arrived) {
			arrived[i] = true
		}
	}
	lost, runs := 0, 0
	for i, here := range arrived {
		if !here {
			if lost++; i == 0 || arrived[i-1] {
				runs++
			}
		}
	}
	return float64(lost) / float64(max(runs, 1))
}
