package loadgen

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// TestDue counts the arrivals of each second and holds them against the area under the rate.
func TestDue(t *testing.T) {
	for _, s := range []Shape{
		Constant(100),
		{From: 100, To: 1000, Over: unit.Duration(5 * time.Second)},
		{From: 1000, To: 0, Over: unit.Duration(5 * time.Second)},
		{From: 2000, To: 50_000, Over: unit.Duration(time.Second)},
	} {
		t.Run(s.String(), func(t *testing.T) {
			n, before := uint64(0), time.Duration(-1)
			for second := range 8 {
				end := time.Duration(second+1) * time.Second
				count := 0
				for ; s.Due(n) < end; n++ {
					if got := s.Count(s.Due(n) + time.Microsecond); got != n+1 {
						t.Fatalf("%d arrivals are due when arrival %d is", got, n)
					}
					if d := s.Due(n); d < before {
						t.Fatalf("arrival %d at %s, before the one before it", n, d)
					} else {
						before = d
					}
					count++
				}
				want := 0.0
				for step := range 1000 {
					want += s.Rate(end-time.Second+time.Duration(step)*time.Millisecond+500*time.Microsecond) / 1000
				}
				if math.Abs(float64(count)-want) > 1+want/1000 {
					t.Errorf("second %d: %d arrivals, want %.0f", second, count, want)
				}
			}
		})
	}
}

// TestSlicesMakeTheWhole gives every client to exactly one worker.
func TestSlicesMakeTheWhole(t *testing.T) {
	for _, clients := range []int{1, 7, 60, 1000} {
		for _, north := range []float64{0.8, 0.5, 1, 0.333} {
			var slices []Slice
			for i := range 3 {
				slices = append(slices, Slice{0, north, i, 3}, Slice{north, 1, i, 3})
			}
			for i := range clients {
				owners := 0
				for _, s := range slices {
					if s.Mine(i, clients) {
						owners++
					}
				}
				if owners != 1 {
					t.Errorf("client %d of %d with %g in the north has %d workers", i, clients, north, owners)
				}
			}
		}
	}
}

// TestOfferedGoesOnWithoutTheGenerator holds a generator up and sees what was due all the same.
func TestOfferedGoesOnWithoutTheGenerator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMeter(Spec{Name: "x", Region: "north", Start: time.Now(), For: unit.Duration(10 * time.Second)})
		m.Follow(Constant(100), func() (uint64, uint64) { return 10, 5 }) // it has looked at ten and made five
		for range 5 {
			m.Offered.Inc()
		}
		for _, c := range []struct {
			after time.Duration
			want  float64
		}{{0, 5}, {2 * time.Second, 100}, {20 * time.Second, 500}} {
			target.Wait(t.Context(), c.after)
			if got := m.Offered.value(); got != c.want {
				t.Errorf("after %s: %g offered, want %g", time.Since(m.Start), got, c.want)
			}
		}
	})
}
