package gate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports/stats"
)

// SelfCheck is how far the gate can be trusted on somebody's own runs: how often it cries wolf over runs of one version, and
// how often it sees a regression that was planted in them.
type SelfCheck struct {
	Runs        int     `json:"runs"`
	Paired      bool    `json:"paired"`
	PerSide     int     `json:"per_side"`
	Comparisons int     `json:"comparisons"`
	FalseAlarms int     `json:"false_alarms"`
	Planted     string  `json:"planted"` // metric
	By          float64 `json:"by"`      // relative
	Trials      int     `json:"trials"`
	Caught      int     `json:"caught"`
	Low         float64 `json:"caught_low"` // 95 %, exact
	High        float64 `json:"caught_high"`
}

// Check splits runs of one version at random into two sides again and again, and compares them: every alarm is false. Then it
// makes one metric worse by a share on one side, and counts how often that is seen. Paired runs were made in turns: those that follow each
// other are a pair, of which chance says which goes to which side.
func Check(runs []Run, paired bool, metrics []Metric, comparisons, trials int, planted string, by float64) (SelfCheck, error) {
	out := SelfCheck{Runs: len(runs), Paired: paired, PerSide: len(runs) / 2, Comparisons: comparisons, Planted: planted, By: by, Trials: trials}
	if out.PerSide < 3 {
		return out, fmt.Errorf("%d runs are too few to be split: at least 6", len(runs))
	}
	if paired && out.PerSide < 4 {
		return out, fmt.Errorf("%d runs are %d pairs, which can never decide: at least 8", len(runs), out.PerSide)
	}
	if !slices.ContainsFunc(metrics, func(m Metric) bool { return m.Name == planted }) {
		return out, fmt.Errorf("%q is not among the metrics that are compared", planted)
	}
	for _, r := range runs {
		if r.Metrics[planted] == 0 {
			return out, fmt.Errorf("%s has no metric %q, or it is 0 and cannot become worse by a share", r.ID, planted)
		}
	}
	runs = slices.SortedFunc(slices.Values(runs), func(a, b Run) int { return strings.Compare(a.ID, b.ID) }) // which begin with their time
	rng := rand.New(rand.NewPCG(uint64(len(runs)), 1))
	split := func() (a, b []Run) {
		order := rng.Perm(len(runs))
		if paired {
			slices.Sort(order)
			for i := 0; i+1 < len(order); i += 2 {
				if rng.IntN(2) == 0 {
					order[i], order[i+1] = order[i+1], order[i]
				}
			}
		}
		for i, k := range order[:2*out.PerSide] {
			if i%2 == 0 {
				a = append(a, runs[k])
			} else {
				b = append(b, runs[k])
			}
		}
		return a, b
	}
	for range comparisons {
		a, b := split()
		if compare(a, b, paired, metrics, nil).Verdict == Worse {
			out.FalseAlarms++
		}
	}
	for range trials {
		a, b := split()
		for i := range b {
			b[i] = worsened(b[i], planted, by)
		}
		for _, j := range compare(a, b, paired, metrics, nil).Metrics {
			if j.Metric == planted && j.Verdict == Worse {
				out.Caught++
			}
		}
	}
	out.Low, out.High = stats.ClopperPearson(float64(out.Caught), float64(out.Trials))
	return out, nil
}

func worsened(r Run, metric string, by float64) Run {
	metrics := map[string]float64{}
	for k, v := range r.Metrics {
		metrics[k] = v
	}
	for _, m := range Metrics {
		if m.Name != metric {
			continue
		}
		if m.HigherIsBetter {
			by = -by
		}
		metrics[metric] *= 1 + by
		if m.Unit == "ratio" {
			metrics[metric] = min(max(metrics[metric], 0), 1)
		}
	}
	r.Metrics = metrics
	return r
}
