package gate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports/stats"
)

// Verdict is what the comparison of one metric, or of all, comes to. The zero value claims nothing.
type Verdict string

// The verdicts.
const (
	CannotTell Verdict = ""
	Better     Verdict = "better"
	Same       Verdict = "same"
	Worse      Verdict = "worse"
)

// MarshalText writes the zero value out.
func (v Verdict) MarshalText() ([]byte, error) {
	if v == CannotTell {
		return []byte("cannot-tell"), nil
	}
	return []byte(v), nil
}

// UnmarshalText is the reverse of MarshalText.
func (v *Verdict) UnmarshalText(text []byte) error {
	if *v = Verdict(text); *v == "cannot-tell" {
		*v = CannotTell
	}
	return nil
}

func (v Verdict) String() string {
	text, _ := v.MarshalText()
	return string(text)
}

// Judged is one metric's comparison. Change and its bounds are relative, or differences where the metric is absolute; a
// number that cannot be computed is null.
type Judged struct {
	Metric    string   `json:"metric"`
	Unit      string   `json:"unit"`
	Absolute  bool     `json:"absolute"`
	Baseline  *float64 `json:"baseline"` // mean of the runs that have it
	Candidate *float64 `json:"candidate"`
	NBaseline int      `json:"n_baseline"`
	N         int      `json:"n_candidate"`
	Change    float64  `json:"change"`
	Low       *float64 `json:"low"` // 95 %
	High      *float64 `json:"high"`
	BootLow   *float64 `json:"bootstrap_low"`
	BootHigh  *float64 `json:"bootstrap_high"`
	WelchP    *float64 `json:"welch_p"`        // two-sided; a paired t where runs are pairs; Yuen's where some lie far out
	RankP     *float64 `json:"mann_whitney_p"` // two-sided; Wilcoxon's signed ranks where runs are pairs
	LeastP    *float64 `json:"least_rank_p"`   // the smallest that so few runs can give
	Adjusted  *float64 `json:"adjusted_p"`     // one-sided for worse, corrected for all metrics (Holm)
	Effect    float64  `json:"cliffs_delta"`
	Least     float64  `json:"least_change"` // that matters
	Verdict   Verdict  `json:"verdict"`
	More      int      `json:"runs_needed"` // a side (or pairs), where the runs cannot tell
	Note      string   `json:"note,omitempty"`
}

// Result is a whole comparison.
type Result struct {
	Schema   string   `json:"schema"`
	Paired   bool     `json:"paired"`
	Verdict  Verdict  `json:"verdict"`
	Reasons  []string `json:"reasons"`
	Baseline []string `json:"baseline"` // ids of runs
	Runs     []string `json:"candidate"`
	Metrics  []Judged `json:"metrics"`
}

// Schema names the form of a comparison.
const Schema = "livedrill.gate/v1"

// alpha is the chance of a false alarm over all metrics together, before a shift must also matter. With that condition fewer
// than 5 of 100 comparisons of one version with itself raise an alarm (TestFalseAlarms; gate check counts them on real runs).
const alpha = 0.10

// Compare compares two groups of runs by some metrics. Paired runs were made in turns on one machine: the i-th of each side belong together.
func Compare(a, b []Run, paired bool, metrics []Metric) Result {
	return compare(a, b, paired, metrics, rand.New(rand.NewPCG(uint64(len(a)), uint64(len(b))))) // the same runs give the same answer
}

// compare does without bootstrap bounds, on which no verdict stands, where rng is nil.
func compare(a, b []Run, paired bool, metrics []Metric, rng *rand.Rand) Result {
	out := Result{Schema: Schema, Paired: paired, Reasons: []string{}, Baseline: ids(a), Runs: ids(b), Metrics: []Judged{}}
	var shifts []stats.Shift
	var of []Metric
	var at []int // the place of each among the metrics
	for _, m := range metrics {
		x, y := values(a, m.Name, paired, b), values(b, m.Name, paired, a)
		if len(x) == 0 && len(y) == 0 {
			continue
		}
		if len(x) < len(a) || len(y) < len(b) { // what a version does not even have says much, and nothing that can be counted
			out.Metrics = append(out.Metrics, Judged{Metric: m.Name, Unit: m.Unit, Baseline: finite(stats.Mean(x)), Candidate: finite(stats.Mean(y)), NBaseline: len(x), N: len(y),
				Note: fmt.Sprintf("%d of %d runs of the baseline and %d of %d of the candidate have it", len(x), len(a), len(y), len(b))})
			continue
		}
		if m.Absolute && (eventless(a, m.Name) || eventless(b, m.Name)) {
			out.Metrics = append(out.Metrics, Judged{Metric: m.Name, Unit: m.Unit, Baseline: finite(stats.Mean(x)), Candidate: finite(stats.Mean(y)), NBaseline: len(x), N: len(y),
				Note: "not all runs say how many events it is of: save a baseline of an earlier form again"})
			continue
		}
		log := !m.Absolute && lowest(x) > 0 && lowest(y) > 0
		s := stats.Compare(x, y, paired, log, floor(m, a, b), rng)
		shifts, of, at = append(shifts, s), append(of, m), append(at, len(out.Metrics))
		j := Judged{Metric: m.Name, Unit: m.Unit, Absolute: !log, Baseline: finite(stats.Mean(x)), Candidate: finite(stats.Mean(y)), NBaseline: len(x), N: len(y),
			Change: plain(s.Estimate, log), Low: finite(plain(s.Low, log)), High: finite(plain(s.High, log)), BootLow: finite(plain(s.BootLow, log)),
			BootHigh: finite(plain(s.BootHigh, log)), WelchP: finite(2 * min(s.Above, s.Below, 0.5)), RankP: finite(s.RankP), LeastP: finite(s.LeastRankP),
			Effect: s.Effect, Least: m.Least}
		if s.Outlying {
			j.Baseline, j.Candidate = finite(stats.Median(x)), finite(stats.Median(y))
		}
		if !m.Absolute && !log { // a duration of 0: compared by its difference, against a share of the baseline
			j.Least = m.Least * math.Abs(stats.Mean(x))
		}
		out.Metrics = append(out.Metrics, j)
	}
	var worse, better []float64 // P of those that are tested
	for i, s := range shifts {
		if s.Constant {
			continue
		}
		w, b := s.Above, s.Below
		if of[i].HigherIsBetter {
			w, b = b, w
		}
		if math.IsNaN(w) { // a single run on a side proves nothing
			w, b = 1, 1
		}
		worse, better = append(worse, w), append(better, b)
	}
	worse, better = stats.Holm(worse), stats.Holm(better)
	each, next := alpha/float64(max(1, len(worse))), 0
	for i, k := range at {
		w, b := 1.0, 1.0 // a number that is the same in all runs of both sides is no test, and takes nothing from the others
		if !shifts[i].Constant {
			w, b, next = worse[next], better[next], next+1
		}
		out.Metrics[k].Adjusted = finite(w)
		out.Metrics[k].decide(shifts[i], of[i], w, b, each)
		out.Metrics[k].doubts(shifts[i])
	}
	if len(out.Metrics) == 0 {
		out.Reasons = append(out.Reasons, "the runs have none of these metrics")
	}
	out.Reasons = append(out.Reasons, mixed(a, b)...)
	if out.conclude(); len(mixed(a, b)) > 0 {
		out.Verdict = CannotTell
	}
	return out
}

// decide gives one metric its verdict. Worse and better need both a shift that chance does not explain and one that matters; the
// same needs an interval within what does not matter; anything else is not known yet.
func (j *Judged) decide(s stats.Shift, m Metric, worse, better, each float64) {
	harm := j.Change
	low, high := value(j.Low), value(j.High)
	if m.HigherIsBetter {
		harm = -harm
	}
	switch {
	case math.IsNaN(low):
		j.Note = "one run on a side has no spread to be held against"
	case value(j.LeastP) >= 2*alpha: // any order of so few runs is likely
		j.Note = fmt.Sprintf("with so few runs a rank test can never go below p = %.2g", *j.LeastP)
	case worse < alpha && harm > j.Least:
		j.Verdict = Worse
	case better < alpha && -harm > j.Least:
		j.Verdict = Better
	case math.Abs(low) <= j.Least && math.Abs(high) <= j.Least:
		j.Verdict = Same
	}
	if whole := plain(s.Whole, s.Log); s.Outlying && j.Verdict != Worse && whole > j.Least { // what was left out may be what the candidate does now and then
		j.Verdict, j.Note = CannotTell, fmt.Sprintf("some runs lie far out, and with them the change is %s: look at them, or make more", amount(whole, j.Absolute))
		return
	}
	if j.Verdict != CannotTell {
		return
	}
	delta := j.Least
	if s.Log {
		delta = math.Log1p(j.Least)
	}
	j.More = s.Needed(delta, each)
}

// doubts are signs that the runs are not what the t-test takes them for.
func (j *Judged) doubts(s stats.Shift) {
	n := float64(j.N)
	if !s.Paired {
		n += float64(j.NBaseline)
	}
	var out []string
	switch {
	case s.Outlying:
		out = append(out, "some runs lie far out: the means are medians here, and the change leaves a fifth out at either end")
	case math.Abs(s.Skew) > 2*math.Sqrt(6/n):
		out = append(out, "skewed: hold it against the ranks")
	}
	if s.Drift > 2/math.Sqrt(n) {
		out = append(out, "each run resembles the one before: the machine drifts")
	}
	if j.Note == "" {
		j.Note = strings.Join(out, "; ")
	}
}

// eventless tells whether a run does not say how many events a share is of.
func eventless(runs []Run, metric string) bool {
	return slices.ContainsFunc(runs, func(r Run) bool { return r.Events[metric] < 1 })
}

// floor is the least variance that the difference of two sides' shares has: that of as many events, were they independent. One more of
// each kind keeps a share of nothing or all from having none.
func floor(m Metric, a, b []Run) float64 {
	good, n := 0.0, [2]float64{}
	for i, side := range [][]Run{a, b} {
		for _, r := range side {
			good += r.Metrics[m.Name] * r.Events[m.Name]
			n[i] += r.Events[m.Name]
		}
	}
	if !m.Absolute || n[0] == 0 || n[1] == 0 {
		return 0
	}
	p := (good + 1) / (n[0] + n[1] + 2)
	return p * (1 - p) * (1/n[0] + 1/n[1])
}

// conclude puts the metrics together: one that is worse decides; one that nobody can tell keeps the whole from being the same.
func (r *Result) conclude() {
	worse, open, better := 0, 0, 0
	for _, j := range r.Metrics {
		switch j.Verdict {
		case Worse:
			worse++
			r.Reasons = append(r.Reasons, fmt.Sprintf("%s is worse: %s", j.Metric, j.words()))
		case CannotTell:
			if open++; j.More == 0 {
				r.Reasons = append(r.Reasons, fmt.Sprintf("%s: %s", j.Metric, j.Note))
				continue
			}
			would := fmt.Sprintf("about %d a side would", j.More)
			if j.More >= stats.Most {
				would = fmt.Sprintf("%d a side would not either", stats.Most)
			}
			have := fmt.Sprintf("%d runs a side", j.N)
			if j.N != j.NBaseline {
				have = fmt.Sprintf("%d runs against %d", j.N, j.NBaseline)
			}
			r.Reasons = append(r.Reasons, fmt.Sprintf("%s: %s cannot tell (%s); %s", j.Metric, have, j.words(), would))
		case Better:
			better++
		}
	}
	switch {
	case worse > 0:
		r.Verdict = Worse
	case open > 0 || len(r.Metrics) == 0:
		r.Verdict = CannotTell
	case better > 0:
		r.Verdict = Better
	default:
		r.Verdict = Same
	}
}

func (j Judged) words() string {
	if j.Low == nil && j.Change == 0 && j.Note != "" {
		return "not compared"
	}
	low, high := value(j.Low), value(j.High)
	if math.IsNaN(low) || math.IsNaN(high) { // one run a side says nothing of the spread
		return amount(j.Change, j.Absolute) + ", bounds unknown"
	}
	return fmt.Sprintf("%s, between %s and %s", amount(j.Change, j.Absolute), amount(low, j.Absolute), amount(high, j.Absolute))
}

// amount prints a change.
func amount(v float64, absolute bool) string {
	if absolute {
		return fmt.Sprintf("%+.4g", v)
	}
	return fmt.Sprintf("%+.1f %%", v*100)
}

// ExitCode is what the command ends with.
func (r Result) ExitCode() int {
	switch r.Verdict {
	case Worse:
		return 3
	case Same, Better:
		return 0
	default:
		return 4
	}
}

// values takes a metric from the runs that have it; of pairs, only those that both have.
func values(runs []Run, metric string, paired bool, others []Run) []float64 {
	var out []float64
	for i, r := range runs {
		v, ok := r.Metrics[metric]
		if paired {
			_, both := others[i].Metrics[metric]
			ok = ok && both
		}
		if ok {
			out = append(out, v)
		}
	}
	return out
}

func ids(runs []Run) []string {
	out := []string{}
	for _, r := range runs {
		out = append(out, r.ID)
	}
	return out
}

// plain turns a difference of logarithms into a relative change.
func plain(v float64, log bool) float64 {
	if log {
		return math.Expm1(v)
	}
	return v
}

func lowest(v []float64) float64 {
	low := math.Inf(1)
	for _, x := range v {
		low = min(low, x)
	}
	return low
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func value(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}
