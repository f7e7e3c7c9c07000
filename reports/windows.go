package reports

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/livedrill/livedrill/reports/stats"
)

// series is a sum of counters, or of native histograms, as it grew over the run, read in steps. Windows are differences of
// it, so that following an SLI through a long run needs one query and not thousands.
type series struct {
	t    []float64 // Unix seconds
	v    []float64 // of counters
	h    []*histogram.FloatHistogram
	step float64
}

// finest is how many steps a run is read in at most.
const finest = 1500

// cumulative reads a selector over the whole run, once.
func (j *judge) cumulative(ctx context.Context, selector string) (*series, error) {
	if s, ok := j.known[selector]; ok {
		return s, nil
	}
	from, to, step := j.span(finest)
	matrix, err := j.db.QueryRange(ctx, "sum("+selector+")", from, to, step)
	if err != nil {
		return nil, err
	}
	s := &series{step: step.Seconds()}
	for _, m := range matrix {
		// A sum that falls lacks a process that could not be read: a gap, and no reading.
		for _, p := range m.Floats {
			if n := len(s.v); n == 0 || p.F >= s.v[n-1] {
				s.t, s.v = append(s.t, float64(p.T)/1000), append(s.v, p.F)
			}
		}
		for _, p := range m.Histograms {
			if n := len(s.h); n == 0 || p.H.Count >= s.h[n-1].Count {
				s.t, s.h = append(s.t, float64(p.T)/1000), append(s.h, p.H)
			}
		}
	}
	j.known[selector] = s
	return s, nil
}

// between gives the indices of the readings within a window.
func (s *series) between(from, to float64) (first, last int) {
	first = len(s.t)
	last = -1
	for i, t := range s.t {
		if t >= from-0.0005 && t <= to+0.0005 { // the record counts milliseconds
			first, last = min(first, i), i
		}
	}
	return first, last
}

// buckets gives the histogram's windows of so many steps within a stretch of time, over one set of bounds, and their edges.
func (s *series) buckets(from, to float64, steps int) (b stats.Buckets, edges []float64) {
	first, last := s.between(from, to)
	type bound struct{ lower, upper float64 }
	place := map[bound]int{}
	for i := first; i+steps <= last && s.h != nil; i += steps {
		counts := make([]float64, len(b.Upper))
		grown := s.h[i+steps].Copy()
		if _, _, _, err := grown.Sub(s.h[i]); err != nil {
			grown = &histogram.FloatHistogram{} // another layout: the process was restarted, and this window says nothing
		}
		add := func(lower, upper, n float64) {
			if n <= 0 {
				return
			}
			k, ok := place[bound{lower, upper}]
			if !ok {
				k = len(b.Upper)
				place[bound{lower, upper}] = k
				b.Lower, b.Upper = append(b.Lower, lower), append(b.Upper, upper)
				counts = append(counts, 0)
			}
			counts[k] += n
		}
		add(0, grown.ZeroThreshold, grown.ZeroCount)
		for it := grown.PositiveBucketIterator(); it.Next(); {
			at := it.At()
			add(at.Lower, at.Upper, at.Count)
		}
		b.Counts = append(b.Counts, counts)
		edges = append(edges, s.t[i])
	}
	if len(edges) > 0 {
		edges = append(edges, edges[len(edges)-1]+float64(steps)*s.step)
	}
	for i := range b.Counts { // later windows may have found more bounds
		b.Counts[i] = append(b.Counts[i], make([]float64, len(b.Upper)-len(b.Counts[i]))...)
	}
	return sorted(b), edges
}

// sorted puts the buckets in the order of their bounds.
func sorted(b stats.Buckets) stats.Buckets {
	order := make([]int, len(b.Upper))
	for i := range order {
		order[i] = i
	}
	for i := 1; i < len(order); i++ { // few and nearly sorted
		for k := i; k > 0 && b.Upper[order[k]] < b.Upper[order[k-1]]; k-- {
			order[k], order[k-1] = order[k-1], order[k]
		}
	}
	out := stats.Buckets{Counts: make([][]float64, len(b.Counts))}
	for _, i := range order {
		out.Lower, out.Upper = append(out.Lower, b.Lower[i]), append(out.Upper, b.Upper[i])
		for w := range b.Counts {
			out.Counts[w] = append(out.Counts[w], b.Counts[w][i])
		}
	}
	return out
}

// shareSeries is a ratio as it grew over the run: at each time the events so far, and those of them that never became good. Of a
// late ratio that is the least that is missing from then on: an answer that comes after its window is no failure of that window.
type shareSeries struct{ t, total, lost []float64 }

// shared reads a ratio over the run.
func (j *judge) shared(ctx context.Context, sli SLI) (shareSeries, error) {
	total, err := j.cumulative(ctx, sli.Total)
	if err != nil {
		return shareSeries{}, err
	}
	selector, inverse := strings.CutPrefix(sli.Good, "-")
	good, err := j.cumulative(ctx, selector)
	if err != nil {
		return shareSeries{}, err
	}
	at := map[float64]float64{}
	for i, t := range good.t {
		at[t] = good.v[i]
	}
	out := shareSeries{t: total.t, total: total.v, lost: make([]float64, len(total.t))}
	least := math.Inf(1)
	for i := len(out.t) - 1; i >= 0; i-- {
		missing := out.total[i] - at[out.t[i]]
		if inverse {
			missing = at[out.t[i]]
		}
		if out.lost[i] = missing; sli.Late {
			least = min(least, missing)
			out.lost[i] = least
		}
	}
	return out, nil
}

// window is what the steps from i to k add.
func (s shareSeries) window(i, k int) stats.Window {
	n := s.total[k] - s.total[i]
	return stats.Window{Total: n, Good: min(max(n-(s.lost[k]-s.lost[i]), 0), n)}
}

// windowsOf gives a ratio's windows within a stretch of time.
func (j *judge) windowsOf(ctx context.Context, sli SLI, w Window) ([]stats.Window, error) {
	s, err := j.shared(ctx, sli)
	if err != nil {
		return nil, err
	}
	first, last := (&series{t: s.t}).between(w.From, w.To)
	_, _, step := j.span(finest)
	steps := max(1, int(math.Round(bootstrapWindow/step.Seconds())))
	var out []stats.Window
	for i := first; i+steps <= last; i += steps {
		if v := s.window(i, i+steps); v.Total >= 0 {
			v.Part = j.part(s.t[i], s.t[i+steps])
			out = append(out, v)
		}
	}
	return out, nil
}

// part is the part of the run that a window belongs to: a phase, with one set of faults in effect. A window that a change falls into
// is a part of its own.
func (j *judge) part(from, to float64) int {
	before, after := 0, 0
	count := func(at float64) {
		if at = j.abs(at); at <= from {
			before++
		} else if at < to {
			after++
		}
	}
	for _, p := range j.Phases {
		count(p.From)
	}
	for _, f := range j.Faults {
		for _, at := range []*float64{f.Injected, f.Restored} {
			if at != nil {
				count(*at)
			}
		}
	}
	return 2*before + min(after, 1)
}

// bootstrapWindow is the length of the windows that the bootstrap draws, in seconds.
const bootstrapWindow = 2.0

// widen adds what the bootstrap over windows says to a measurement: its bounds hold both.
func (j *judge) widen(ctx context.Context, m *measurement, o Objective, sli SLI, w Window) error {
	rng := rand.New(rand.NewPCG(j.Run.Seed, uint64(len(o.Name))))
	var b stats.Bootstrap
	if sli.Histogram != "" {
		s, err := j.cumulative(ctx, sli.Histogram)
		if err != nil {
			return err
		}
		buckets, edges := s.buckets(w.From, w.To, max(1, int(math.Round(bootstrapWindow/s.step))))
		for i := range buckets.Counts {
			buckets.Parts = append(buckets.Parts, j.part(edges[i], edges[i+1]))
		}
		b = stats.Quantile(buckets, o.Quantile, rng)
	} else {
		windows, err := j.windowsOf(ctx, sli, w)
		if err != nil {
			return err
		}
		b = stats.Ratio(windows, rng)
	}
	m.windows, m.effect = b.Windows, b.DesignEffect*m.n/m.total
	if !math.IsNaN(b.Low) {
		m.low, m.high = min(m.low, b.Low), max(m.high, b.High)
	}
	return nil
}

// where narrows a selector to series with a label.
func where(selector, label, value string) string {
	pair := fmt.Sprintf("%s=%q", label, value)
	if selector == "" {
		return ""
	}
	if last := len(selector) - 1; selector[last] == '}' {
		return selector[:last] + "," + pair + "}"
	}
	return selector + "{" + pair + "}"
}

// In narrows an SLI to the series with a label, as in region="north".
func (s SLI) In(label, value string) SLI {
	for _, selector := range []*string{&s.Good, &s.Total, &s.Histogram, &s.Begun, &s.Ended} {
		*selector = where(*selector, label, value)
	}
	return s
}

// clockOf turns Unix seconds into the database's time.
func clockOf(s float64) time.Time { return time.UnixMilli(int64(math.Round(s * 1000))) }
