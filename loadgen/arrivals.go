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
	w := m.Walk(s)
	Promptly(func() {
		now := time.Now()
		for ctx.Err() == nil {
			n, at, ok := w.Next()
			if !ok {
				return
			}
			if at.After(now) {
				if now = time.Now(); at.After(now) {
					now = sleepUntil(ctx, at, now)
				}
			}
			if ctx.Err() != nil {
				return
			}
			w.Gone(do(n, at))
		}
	})
}

// Promptly runs do on a thread of its own that a busy machine lets run at once where that is allowed, and returns when it does.
func Promptly(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()                                      // the thread ends with the goroutine, and its priority with it
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10) // a help where it is allowed
		do()
	}()
	<-done
}

// Walk goes along a plan of arrivals, for whoever has more to wait for than the next of them.
type Walk struct {
	m        *Meter
	curve    Curve
	n        uint64
	due      time.Duration
	all, own atomic.Uint64
}

// Walk begins at the plan's first arrival.
func (m *Meter) Walk(s Shape) *Walk {
	w := &Walk{m: m, curve: s.Curve()}
	w.due = w.curve.Due(0)
	m.Follow(w.curve, func() (uint64, uint64) { return w.all.Load(), w.own.Load() })
	return w
}

// Next is the number of the next arrival of the whole load and when it is due; ok is false when the plan is over.
func (w *Walk) Next() (n uint64, due time.Time, ok bool) {
	return w.n, w.m.Start.Add(w.due), w.due < time.Duration(w.m.For)
}

// Gone goes on to the one behind it. mine tells whether it was this worker's own.
func (w *Walk) Gone(mine bool) {
	w.n++
	w.due = w.curve.Due(w.n)
	w.all.Add(1)
	if mine {
		w.own.Add(1)
		w.m.Offered.Inc()
	}
}

// Waking is when a thread that has more to wait for than the next arrival should wake, at the latest: arrivals that are closer together than a
// tick go out at one waking, if nothing else wakes it before.
func Waking(now, next, latest time.Time) time.Time {
	if soon := now.Add(tick); next.Before(soon) {
		next = soon
	}
	if next.After(latest) {
		next = latest
	}
	return next
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
