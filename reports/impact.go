package reports

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports/stats"
)

// inARow is how many windows of two seconds (or two steps of a long run) must agree: three bad ones count as hurt, three
// good ones as whole. A single window can be off because a batch of deliveries fell on its edge.
const inARow = 3

// impact finds what each fault did to each SLI that has an objective for it, from the injection to the next fault or the
// end of the run.
func (j *judge) impact(ctx context.Context) ([]Impact, error) {
	out := []Impact{}
	for _, f := range j.Faults {
		if _, ok := j.Windows[f.ID]; !ok || f.Injected == nil {
			continue
		}
		for _, o := range j.Objectives {
			sli, ok := FindSLI(o.SLI)
			concerned := o.During == "fault" || o.During == WholeRun || o.During == f.Kind || o.During == f.ID
			if !ok || sli.Value != "" || !concerned {
				continue
			}
			im, hurt, err := j.follow(ctx, f, o, sli)
			if err != nil {
				return nil, err
			}
			if hurt {
				out = append(out, im)
			}
		}
	}
	return out, nil
}

// settled is how long before an injection an SLI is looked at, to tell what the fault did from what was so before.
const settled = 10.0

// shaken tells whether another fault was at work within that time: then it is not known how things were without any.
func (j *judge) shaken(f Fault) bool {
	for id, w := range j.Windows {
		if id != f.ID && w.From < *f.Injected && w.To > *f.Injected-settled {
			return true
		}
	}
	return false
}

// judgedFrom is the end of the warm-up.
func (j *judge) judgedFrom() float64 {
	if p := j.Phases[0]; p.Name == "warm-up" {
		return p.To
	}
	return j.Phases[0].From
}

// follow reads one SLI window by window after one fault.
func (j *judge) follow(ctx context.Context, f Fault, o Objective, sli SLI) (im Impact, hurt bool, err error) {
	im = Impact{Fault: f.ID, Objective: o.Name}
	values, ends, err := j.moving(ctx, sli, o.Quantile, j.abs(*f.Injected), j.abs(j.until(f)))
	if err != nil {
		return im, false, err
	}
	before, _, err := j.moving(ctx, sli, o.Quantile, j.abs(max(*f.Injected-settled, j.judgedFrom())), j.abs(*f.Injected))
	if err != nil {
		return im, false, err
	}
	if n := len(before); n >= inARow && !j.shaken(f) && !slices.ContainsFunc(before[n-inARow:], o.Holds) {
		return im, false, nil // it was as bad already
	}
	bad, good := 0, 0
	worst := math.NaN()
	firstOf := func(i, run int) *float64 { // when the first of a run of windows that ends with i was over
		at := ends[i-run+1] - j.abs(*f.Injected)
		return &at
	}
	for i, v := range values {
		if o.Holds(v) {
			bad = 0
			if good++; good == inARow && im.Detected != nil && im.Whole == nil {
				im.Whole = firstOf(i, inARow)
			}
			continue
		}
		good = 0
		if bad++; bad == inARow {
			im.Whole = nil
			if im.Detected == nil {
				im.Detected = firstOf(i, inARow)
			}
		}
		if math.IsNaN(worst) || strings.HasPrefix(o.Op, ">") == (v < worst) {
			worst = v
		}
	}
	im.Worst = worst
	j.looked[f.ID] = max(j.looked[f.ID], len(values))
	return im, im.Detected != nil, nil
}

// moving gives an SLI over overlapping windows within a stretch of time, and when each window ends. Windows in which nothing
// happened are left out.
func (j *judge) moving(ctx context.Context, sli SLI, quantile, from, to float64) (values, ends []float64, err error) {
	if sli.Histogram != "" {
		s, err := j.cumulative(ctx, sli.Histogram)
		if err != nil {
			return nil, nil, err
		}
		b, _ := s.buckets(from, to, 1)
		first, _ := s.between(from, to)
		for i := 1; i < len(b.Counts); i++ {
			both := make([]float64, len(b.Upper))
			for k := range both {
				both[k] = b.Counts[i-1][k] + b.Counts[i][k]
			}
			if v := stats.QuantileOf(b, both, quantile); !math.IsNaN(v) {
				values, ends = append(values, v), append(ends, s.t[first+i+1])
			}
		}
		return values, ends, nil
	}
	s, err := j.shared(ctx, sli)
	if err != nil {
		return nil, nil, err
	}
	first, last := (&series{t: s.t}).between(from, to)
	for i := first; i+2 <= last; i++ {
		if w := s.window(i, i+2); w.Total > 0 {
			values, ends = append(values, w.Good/w.Total), append(ends, s.t[i+2])
		}
	}
	return values, ends, nil
}

// until is when the next fault begins, or the run ends.
func (j *judge) until(f Fault) float64 {
	end := j.Run.Duration
	for _, other := range j.Faults {
		if w, ok := j.Windows[other.ID]; ok && other.ID != f.ID && w.From > j.Windows[f.ID].From {
			end = min(end, w.From)
		}
	}
	return end
}
