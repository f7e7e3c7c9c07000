package loadgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target/unit"
)

// Shape is an arrival rate over time: From at the start, changing evenly to To until Over has passed, To from then on.
// A single rate is written "500/s". It is a vegeta.Pacer, and tells for each arrival when exactly it is due.
type Shape struct {
	From unit.Rate     `json:"from" help:"rate at the start"`
	To   unit.Rate     `json:"to" help:"rate at the end"`
	Over unit.Duration `json:"over" help:"time from the one to the other"`
}

var _ vegeta.Pacer = Shape{}

// Constant is a rate that does not change.
func Constant(r unit.Rate) Shape { return Shape{From: r, To: r} }

// UnmarshalText reads a single rate.
func (s *Shape) UnmarshalText(text []byte) error {
	var r unit.Rate
	if err := r.UnmarshalText(text); err != nil {
		return err
	}
	*s = Constant(r)
	return nil
}

// UnmarshalJSON reads either form.
func (s *Shape) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		return s.UnmarshalText([]byte(text))
	}
	type fields Shape // without these methods
	return json.Unmarshal(data, (*fields)(s))
}

// Validate refuses a shape that never sends.
func (s Shape) Validate() error {
	if s.From <= 0 && s.To <= 0 {
		return errors.New("rate: 0 sends nothing: leave the load out instead")
	}
	if max(s.From, s.To) > 1e6 {
		return fmt.Errorf("rate: %s is more than a million a second", max(s.From, s.To))
	}
	return nil
}

func (s Shape) String() string {
	if s.From == s.To {
		return s.To.String()
	}
	return fmt.Sprintf("%s to %s over %s", s.From, s.To, s.Over)
}

// Due is when arrival n, from 0, is due. Arrivals stand in the middle of their share of time, so that two segments of a
// load do not both begin at its very start.
func (s Shape) Due(n uint64) time.Duration {
	k := float64(n) + 0.5
	from, to, over := float64(s.From), float64(s.To), s.Over.Seconds()
	ramp := (from + to) / 2 * over // arrivals while the rate changes
	if k >= ramp {
		if to <= 0 {
			return math.MaxInt64
		}
		return seconds(over + (k-ramp)/to)
	}
	slope := (to - from) / over
	if math.Abs(slope) < 1e-12 {
		return seconds(k / from)
	}
	// k = from·t + slope·t²/2, solved for t in the form that does not cancel.
	return seconds(2 * k / (from + math.Sqrt(from*from+2*slope*k)))
}

// Count is how many arrivals are due up to a time.
func (s Shape) Count(t time.Duration) uint64 {
	if t <= 0 {
		return 0
	}
	from, to, over := float64(s.From), float64(s.To), s.Over.Seconds()
	ramp := min(t.Seconds(), over)
	area := to * (t.Seconds() - ramp)
	if over > 0 {
		area += from*ramp + (to-from)*ramp*ramp/(2*over)
	}
	return uint64(area + 0.5)
}

func seconds(s float64) time.Duration {
	if s > math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return time.Duration(s * 1e9)
}

// Pace is part of vegeta.Pacer.
func (s Shape) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	return max(0, s.Due(hits)-elapsed), false
}

// Rate is part of vegeta.Pacer.
func (s Shape) Rate(elapsed time.Duration) float64 {
	if elapsed >= time.Duration(s.Over) {
		return float64(s.To)
	}
	return float64(s.From) + (float64(s.To)-float64(s.From))*elapsed.Seconds()/s.Over.Seconds()
}

// Arrivals calls do for each arrival at the time it is due, in order, from m.Start until the plan or ctx ends. do tells
// whether the arrival was this worker's own. It must not block: lateness is counted when it does. Waiting is left to the
// kernel on a thread of its own, which keeps the pace on a machine whose cores are all busy.
func (m *Meter) Arrivals(ctx context.Context, s Shape, do func(n uint64, due time.Time) bool) {
	done := make(chan struct{})
	var all, own atomic.Uint64
	m.Follow(s, func() (uint64, uint64) { return all.Load(), own.Load() })
	go func() {
		defer close(done)
		runtime.LockOSThread()                                      // the thread ends with the goroutine, and its priority with it
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10) // a help where it is allowed
		for n := uint64(0); ctx.Err() == nil; n++ {
			due := s.Due(n)
			if due >= time.Duration(m.For) {
				return
			}
			at := m.Start.Add(due)
			sleepUntil(ctx, at)
			if ctx.Err() != nil {
				return
			}
			mine := do(n, at)
			all.Add(1)
			if mine {
				own.Add(1)
				m.Offered.Inc()
				m.Achieved.Inc()
				m.Late.Observe(time.Since(at).Seconds())
			}
		}
	}()
	<-done
}

// nap bounds one sleep, so that the end of ctx is seen.
const nap = 50 * time.Millisecond

func sleepUntil(ctx context.Context, at time.Time) {
	for ctx.Err() == nil {
		left := time.Until(at)
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(min(left, nap)))
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil) // woken early: the loop goes on
	}
}
