package loadgen

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// TestDue counts the arrivals of each second and holds them against the area under the rate.
func TestDue(t *testing.T) {
	for _, text := range []string{"100/s", "2000/s ramp to=50000/s over=1s", "1000/s ramp to=0 over=5s", "100/s steps to=600/s hold=1s",
		"2000/s spike to=50000/s at=2s hold=1s", "50/s bursts to=500/s every=2s hold=500ms", "0/s bursts to=500/s every=2s hold=500ms",
		"10/s wave to=1000/s every=3s", "100/s flash-sale at=1s", "100/s celebrity at=1s over=1s hold=3s", "100/s match every=7s hold=200ms"} {
		t.Run(text, func(t *testing.T) {
			var s Shape
			if err := errors.Join(s.UnmarshalText([]byte(text)), s.Validate()); err != nil {
				t.Fatal(err)
			}
			c := s.Curve()
			n, before := uint64(0), time.Duration(-1)
			for second := range 8 {
				end := time.Duration(second+1) * time.Second
				count := 0
				for ; c.Due(n) < end; n++ {
					d := c.Due(n)
					if got := c.Count(d + time.Microsecond); got != n+1 {
						t.Fatalf("%d arrivals are due when arrival %d is", got, n)
					}
					if d < before {
						t.Fatalf("arrival %d at %s, before the one before it", n, d)
					}
					before = d
					count++
				}
				want := 0.0
				for step := range 10000 {
					want += c.Rate(end-time.Second+time.Duration(step)*100*time.Microsecond+50*time.Microsecond) / 10000
				}
				if math.Abs(float64(count)-want) > 1.5+want/500 {
					t.Errorf("second %d: %d arrivals, want %.0f", second, count, want)
				}
			}
		})
	}
}

// TestForms holds the shapes that A19 and A26 name against what they promise.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		text     string
		at       time.Duration
		low, top float64 // bounds of the rate then
	}{
		{"2000/s spike", 4 * time.Second, 2000, 2000},
		{"2000/s spike", 6 * time.Second, 50_000, 50_000},
		{"2000/s spike", 30 * time.Second, 2000, 2000},
		{"100/s flash-sale", 6 * time.Second, 2500, 2500},
		{"100/s flash-sale", 11 * time.Second, 1290, 1310}, // one half-life later
		{"100/s celebrity", 40 * time.Second, 2500, 2500},
		{"100/s match", 7600 * time.Millisecond, 2400, 2500}, // a second after the first goal
		{"100/s match", 67600 * time.Millisecond, 2400, 2500},
		{"1000/s wave to=2000/s", 30 * time.Second, 2000, 2000},
		{"10/s steps to=60/s", 25 * time.Second, 30, 30},
	} {
		var s Shape
		if err := errors.Join(s.UnmarshalText([]byte(c.text)), s.Validate()); err != nil {
			t.Fatal(err)
		}
		if got := s.Curve().Rate(c.at); got < c.low-1e-6 || got > c.top+1e-6 {
			t.Errorf("%s: %.1f/s after %s, want %.0f to %.0f", c.text, got, c.at, c.low, c.top)
		}
	}
}

// TestBadShapes refuses what cannot be, and says what is wrong.
func TestBadShapes(t *testing.T) {
	for text, want := range map[string]string{"": "empty", "fast": "no shape", "100/s spike to=50/s": "below", "100/s spike to": "no rate",
		"100/s spike x=1": "no setting", "0/s": "sends nothing", "2000000/s": "more than a million", "-5/s": "below zero",
		"10/s bursts every=1s hold=2s": "does not end", "10/s trace": "needs a file", "10/s trace file=/nonexistent": "no such file",
		"10/s wave every=1ms": "below 10ms", "100/s steps steps=-1": "not between", "100/s ramp": "needs the time", "100/s ramp to=5/s": "needs the time"} {
		var s Shape
		err := s.UnmarshalText([]byte(text))
		if err == nil {
			err = s.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzTrace(f *testing.F) {
	f.Add("0,100\n10,500\n# quiet\n20,0\n")
	f.Add("0,1\n0,1e6\n")
	f.Add("0,1\n0.5,1\n0.5,0\n1.5,2\n") // the first arrival falls on the start of a climb from nothing
	f.Fuzz(func(t *testing.T, text string) {
		points, err := parseTrace(strings.NewReader(text))
		s := Shape{Form: "trace", Trace: points}
		if err != nil || s.Validate() != nil {
			return
		}
		c := s.Curve()
		for n := range uint64(100) {
			if d := c.Due(n); d < 0 || n > 0 && d < c.Due(n-1) {
				t.Errorf("arrival %d is due after %s", n, d)
			}
		}
	})
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

// TestOfferedNeverFalls lets the estimate of what is behind say too much: the count stays until the arrivals have caught up with it.
func TestOfferedNeverFalls(t *testing.T) {
	var tally Tally
	for _, c := range []struct {
		n      int
		behind float64
		want   float64
	}{{3, 2.9, 5}, {1, 0.4, 5}, {0, 0, 5}, {1, 0, 5}, {1, 0, 6}, {0, 1.2, 7}} {
		for range c.n {
			tally.Inc()
		}
		tally.behind.Store(new(func() float64 { return c.behind }))
		if got := tally.value(); got != c.want {
			t.Errorf("%d more and %g behind: %g, want %g", c.n, c.behind, got, c.want)
		}
	}
}

// TestOfferedGoesOnWithoutTheGenerator holds a generator up and sees what was due all the same.
func TestOfferedGoesOnWithoutTheGenerator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMeter(Spec{Name: "x", Region: "north", Start: time.Now(), For: unit.Duration(10 * time.Second)})
		m.Follow(Constant(100).Curve(), func() (uint64, uint64) { return 10, 5 }) // it has looked at ten and made five
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
