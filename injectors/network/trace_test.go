package network

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target/unit"
)

func TestTraceFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // of the error; empty: none
		n    int
		rate float64 // of the first level
	}{
		"seconds and rates":  {"# a walk\n2, 4000000\n1.5 300000\n", "", 2, 4e6},
		"a 4G log":           {"1453122790686,1000,51.04,3.73,500000,1000\n", "", 1, 4e6},
		"nothing for a time": {"1,0\n", "", 1, narrowest},
		"empty":              {"", "no line", 0, 0},
		"three columns":      {"1,2,3\n", "line 1", 0, 0},
		"no number":          {"1,2\n1,fast\n", "line 2", 0, 0},
		"no time":            {"0,1000000\n", "line 1", 0, 0},
		"before itself":      {"-1,1000000\n", "line 1", 0, 0},
		"not a number":       {"NaN,1\n", "line 1", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseTrace(strings.NewReader(c.text))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want one with %q", err, c.want)
				}
				return
			}
			if err != nil || len(got) != c.n || float64(got[0].rate) != c.rate {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func FuzzTrace(f *testing.F) {
	f.Add("2,4000000\n1,300000\n")
	f.Add("1453122790686,1000,51.04,3.73,500000,1000\n")
	f.Add("# nothing\n;;,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTrace(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, l := range got {
			if l.time <= 0 || l.rate < narrowest || l.rate > widest {
				t.Errorf("a level of %v for %s", l.rate, l.time)
			}
		}
	})
}

// TestSameSeedSamePackets: what is lost, late or hurt is the same in each run with the same seed, and another one with another.
func TestSameSeedSamePackets(t *testing.T) {
	streams := map[string]func(seed uint64) func() fate{
		"bursts": func(seed uint64) func() fate { return (&Loss{Share: 0.2, Burst: 5, Seed: seed}).losses(0) },
		"loss":   func(seed uint64) func() fate { return (&Loss{Share: 0.2, Burst: 1, Seed: seed}).losses(0) },
		"jitter": func(seed uint64) func() fate {
			return (&Delay{By: unit.Duration(50 * time.Millisecond), Jitter: unit.Duration(10 * time.Millisecond), Distribution: "pareto", Correlation: 0.3, Seed: seed}).fates(0)
		},
		"corrupt": func(seed uint64) func() fate { return (&single{Share: 0.1, Seed: seed}).pick(fate{hurt: true}, 0) },
	}
	for name, stream := range streams {
		a, b, other := stream(1), stream(1), stream(2)
		same, different := 0, 0
		for range 1000 {
			x := a()
			if x == b() {
				same++
			}
			if x != other() {
				different++
			}
		}
		if same != 1000 || different == 0 {
			t.Errorf("%s: %d of 1000 are the same with one seed, %d differ with another", name, same, different)
		}
	}
}

// TestGilbert holds the stream of losses against the closed form: share L, and bursts of mean length B.
func TestGilbert(t *testing.T) {
	for _, c := range []struct{ share, burst float64 }{{0.05, 2}, {0.2, 5}, {0.5, 10}} {
		next := (&Loss{Share: unit.Ratio(c.share), Burst: c.burst, Seed: 9}).losses(0)
		const n = 1_000_000
		lost, runs, last := 0, 0, false
		for range n {
			f := next()
			if f.lost {
				if lost++; !last {
					runs++
				}
			}
			last = f.lost
		}
		share, burst := float64(lost)/n, float64(lost)/float64(runs)
		if math.Abs(share-c.share) > 0.05*c.share || math.Abs(burst-c.burst) > 0.05*c.burst {
			t.Errorf("share %.4f, bursts of %.2f; asked were %g and %g", share, burst, c.share, c.burst)
		}
	}
}
