package network

import (
	"math"
	"slices"
	"time"
)

// flow is what a probe saw in one direction of a link.
type flow struct {
	sent, received uint64
	bytes          uint64
	took           time.Duration // from the first to the last packet that arrived
	delays         []time.Duration
	order          []uint32 // the packets' numbers as they arrived
}

func (f flow) loss() float64 {
	if f.sent == 0 || f.received > f.sent {
		return 0
	}
	return float64(f.sent-f.received) / float64(f.sent)
}

// rate is the rate at which bytes arrived, in bits per second.
func (f flow) rate() float64 {
	if f.took <= 0 {
		return 0
	}
	return float64(f.bytes) * 8 / f.took.Seconds()
}

// median is the middle of the delays that were seen.
func (f flow) median() time.Duration {
	if len(f.delays) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(f.delays))[len(f.delays)/2]
}

func (f flow) mean() time.Duration {
	var sum time.Duration
	for _, d := range f.delays {
		sum += d
	}
	return sum / time.Duration(max(len(f.delays), 1))
}

// spread is the standard deviation of the delays.
func (f flow) spread() time.Duration {
	mean, sum := f.mean(), 0.0
	for _, d := range f.delays {
		sum += float64(d-mean) * float64(d-mean)
	}
	return time.Duration(math.Sqrt(sum / float64(max(len(f.delays), 1))))
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
