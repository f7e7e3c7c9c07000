package audience

import (
	"testing"
	"time"
)

// TestPlayerAccount plays timelines that were computed by hand. Times are seconds.
func TestPlayerAccount(t *testing.T) {
	type segment struct{ at, media float64 }
	for _, c := range []struct {
		name             string
		segments         []segment
		end              float64
		watched, stalled float64
		stalls           int
	}{
		{"start-up of 0.4 s is no stall", []segment{{0.4, 2}}, 2, 2, 0, 0},
		{"start-up of 1 s counts whole", []segment{{1, 2}}, 3, 3, 1, 1},
		{"gap of 0.5 s is no stall", []segment{{0, 1}, {1.5, 1}}, 2.5, 2.5, 0, 0},
		{"gap of 2 s", []segment{{0, 1}, {3, 2}}, 5, 5, 2, 1},
		{"a gap that still lasts", []segment{{0, 1}}, 4, 4, 3, 1},
		{"never a picture", nil, 5, 5, 5, 1},
		{"two gaps", []segment{{0, 1}, {2, 1}, {4, 1}}, 5, 5, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			p := &Player{started: start, at: start, minStall: 500 * time.Millisecond}
			moment := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
			next := 0
			for ms := 0; ms <= int(c.end*1000); ms += 10 { // a tick every 10 ms, as the worker does every 100
				now := moment(float64(ms) / 1000)
				for next < len(c.segments) && !moment(c.segments[next].at).After(now) {
					p.Arrive(now, time.Duration(c.segments[next].media*float64(time.Second)))
					next++
				}
				p.totals(now)
			}
			watched, stalled, stalls := p.totals(moment(c.end))
			if watched.Seconds() != c.watched || stalled.Seconds() != c.stalled || stalls != c.stalls {
				t.Errorf("watched %v, stalled %v in %d; want %v, %v in %d", watched, stalled, stalls, c.watched, c.stalled, c.stalls)
			}
		})
	}
}
