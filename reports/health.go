package reports

import (
	"context"
	"fmt"
	"math"
)

// Health is how well the machine itself was while the drill ran: 100 less what its signs take, each a share of what the others leave. So
// whatever gets worse lowers it.
type Health struct {
	Score float64 `json:"score"`
	Signs []Sign  `json:"signs"`
}

// Sign is one sign of strain or wear.
type Sign struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"`
	Value *float64 `json:"value"` // null: the machine does not have it, or it was not read
	Takes *float64 `json:"takes"` // the share of the score that it takes
	Limit float64  `json:"limit"` // at which it takes the most that it can
}

// signs are what health is told from. A sign takes nothing up to from, and most at its limit. These are
// rules of thumb: a drill is meant to use the processors, so waiting for them takes little; an error of memory that was not corrected takes all.
var signs = []struct {
	name, unit, expr  string
	from, limit, most float64
	gauge             bool // the greatest reading counts; else the growth of a counter, over the time
	cores             bool // of all processors together
}{
	{"tasks waited for a processor", "ratio", "livedrill_machine_pressure_seconds_total{resource=\"cpu\"}", 0, 1, 0.2, false, false},
	{"tasks waited for memory", "ratio", "livedrill_machine_pressure_seconds_total{resource=\"memory\"}", 0, 0.1, 0.8, false, false},
	{"tasks waited for a disk", "ratio", "livedrill_machine_pressure_seconds_total{resource=\"io\"}", 0, 0.5, 0.5, false, false},
	{"processor time taken by other virtual machines", "ratio", "livedrill_machine_stolen_seconds_total", 0, 0.2, 0.5, false, true},
	{"hottest sensor, of its critical temperature", "ratio", "livedrill_machine_temperature_ratio", 0.8, 1, 1, true, false},
	{"cores slowed down by heat", "times/minute", "livedrill_machine_throttled_total", 0, 10, 0.5, false, false},
	{"memory errors, corrected", "errors/minute", "livedrill_machine_memory_corrected_total", 0, 1, 0.5, false, false},
	{"memory errors, not corrected", "errors/minute", "livedrill_machine_memory_uncorrected_total", 0, 0.01, 1, false, false},
	{"hottest card, of the temperature that slows it down", "ratio", "livedrill_card_temperature_ratio", 0.9, 1, 0.5, true, false},
	{"cards held back by heat", "ratio", "livedrill_card_throttled_seconds_total", 0, 0.5, 0.5, false, false},
	{"power of a card, of its limit", "ratio", "livedrill_card_power_ratio", 0.95, 1, 0.2, true, false},
	{"memory errors of cards, corrected", "errors/minute", "livedrill_card_memory_corrected_total", 0, 1, 0.3, false, false},
	{"memory errors of cards, not corrected", "errors/minute", "livedrill_card_memory_uncorrected_total", 0, 0.01, 1, false, false},
	{"most worn disk, of what it was made for", "ratio", "livedrill_disk_worn_ratio", 0.8, 1, 0.5, true, false},
	{"a disk says that it fails", "yes/no", "livedrill_disk_failing", 0, 1, 1, true, false},
}

// health reads the machine's signs over the whole run.
func (j *judge) health(ctx context.Context, r *Result) error {
	w, ok := j.window(WholeRun)
	if !ok {
		return nil
	}
	out := &Health{Score: 100}
	measured := false
	for _, s := range signs {
		expr, per := increase(s.expr, w), w.To-w.From
		switch {
		case s.gauge:
			expr, per = fmt.Sprintf("max(max_over_time(%s[%dms] @ %.3f))", s.expr, int64((w.To-w.From)*1000), w.To), 1
		case s.unit != "ratio":
			per /= 60
		case s.cores:
			per *= float64(max(j.Run.Machine.Cores, 1))
		}
		v, err := j.number(ctx, expr, w.To)
		if err != nil {
			return err
		}
		sign := Sign{Name: s.name, Unit: s.unit, Limit: s.limit}
		if !math.IsNaN(v) {
			v = max(0, v/per)
			takes := s.most * min(1, max(0, (v-s.from)/(s.limit-s.from)))
			sign.Value, sign.Takes, measured = &v, &takes, true
			out.Score *= 1 - takes
		}
		out.Signs = append(out.Signs, sign)
	}
	if measured {
		r.Health = out
	}
	return nil
}
