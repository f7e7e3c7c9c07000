package loadgen

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Arrivals calls do for each arrival at the time it is due, in order, from m.Start until the plan or ctx ends. do tells
// whether the arrival was this worker's own, and has carried it out then. It must not block: lateness is counted when it does.
func (m *Meter) Arrivals(ctx context.Context, s Shape, do func(n uint64, due time.Time) bool) {
	m.Pace(ctx, s, func(n uint64, due time.Time) bool {
		mine := do(n, due)
		if mine {
			m.Carried(due, time.Now())
		}
		return mine
	})
}

// Carried counts an arrival that was carried out.
func (m *Meter) Carried(due, at time.Time) {
	m.Achieved.Inc()
	m.Late.Observe(at.Sub(due).Seconds())
}

// Pace is Arrivals for what is only begun by do: who carries it out calls Carried. Waiting is left to the kernel on a thread of
// its own, which keeps the pace on a machine whose cores are all busy.
func (m *Meter) Pace(ctx context.Context, s Shape, do func(n uint64, due time.Time) bool) {
	done := make(chan struct{})
	var all, own atomic.Uint64
	curve := s.Curve()
	m.Follow(curve, func() (uint64, uint64) { return all.Load(), own.Load() })
	go func() {
		defer close(done)
		runtime.LockOSThread()                                      // the thread ends with the goroutine, and its priority with it
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10) // a help where it is allowed
		now := time.Now()
		for n := uint64(0); ctx.Err() == nil; n++ {
			due := curve.Due(n)
			if due >= time.Duration(m.For) {
				return
			}
			at := m.Start.Add(due)
			if at.After(now) {
				if now = time.Now(); at.After(now) {
					now = sleepUntil(ctx, at, now)
				}
			}
			if ctx.Err() != nil {
				return
			}
			mine := do(n, at)
			all.Add(1)
			if mine {
				own.Add(1)
				m.Offered.Inc()
			}
		}
	}()
	<-done
}

const (
	// nap bounds one sleep, so that the end of ctx is seen.
	nap = 50 * time.Millisecond
	// tick is the shortest sleep: arrivals that are closer together go out at one waking, and their lateness says so.
	tick = time.Millisecond
)

// sleepUntil returns the time at which it woke. It is at least a tick after now.
func sleepUntil(ctx context.Context, at, now time.Time) time.Time {
	if soon := now.Add(tick); at.Before(soon) {
		at = soon
	}
	for ctx.Err() == nil {
		left := at.Sub(now)
		if left <= 0 {
			return now
		}
		ts := unix.NsecToTimespec(int64(min(left, nap)))
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil) // woken early: the loop goes on
		now = time.Now()
	}
	return now
}
