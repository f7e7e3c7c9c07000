package reports

import (
	"context"
	"math"
	"strings"
)

// The windows in which an SLI is followed after a fault. Three bad ones in a row count as hurt, three good ones as whole:
// a single window can be off because a batch of deliveries fell on its edge.
const (
	windowLength = 2.0 // seconds
	windowStep   = 1.0
	inARow       = 3
)

// impact finds what each fault did to each SLI that has an objective for it, from the injection to the next fault or the
// end of the run.
func (j judge) impact(ctx context.Context) ([]Impact, error) {
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

// follow reads one SLI window by window after one fault.
func (j judge) follow(ctx context.Context, f Fault, o Objective, sli SLI) (im Impact, hurt bool, err error) {
	im = Impact{Fault: f.ID, Objective: o.Name}
	bad, good := 0, 0
	worst := math.NaN()
	for t := *f.Injected; t+windowLength <= j.until(f); t += windowStep {
		m, err := j.measure(ctx, o, sli, Window{j.abs(t), j.abs(t + windowLength)})
		if err != nil {
			return im, false, err
		}
		if math.IsNaN(m.value) || !(m.n > 0) {
			continue
		}
		since := t + windowLength - *f.Injected
		if o.Holds(m.value) {
			bad = 0
			if good++; good == inARow && im.Detected != nil && im.Whole == nil {
				whole := since - (inARow-1)*windowStep
				im.Whole = &whole
			}
			continue
		}
		good = 0
		if bad++; bad == inARow {
			im.Whole = nil
			if im.Detected == nil {
				first := since - (inARow-1)*windowStep
				im.Detected = &first
			}
		}
		if math.IsNaN(worst) || strings.HasPrefix(o.Op, ">") == (m.value < worst) {
			worst = m.value
		}
	}
	im.Worst = worst
	return im, im.Detected != nil, nil
}

// until is when the next fault begins, or the run ends.
func (j judge) until(f Fault) float64 {
	end := j.Run.Duration
	for _, other := range j.Faults {
		if w, ok := j.Windows[other.ID]; ok && other.ID != f.ID && w.From > j.Windows[f.ID].From {
			end = min(end, w.From)
		}
	}
	return end
}
