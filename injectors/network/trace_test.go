package network

import (
	"strings"
	"testing"
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
