package process

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// promptly does something again and again until ctx ends, on a thread of its own that a busy machine lets run at once where that is allowed.
// Go's timers wait for a thread like any other, so this one sleeps by itself.
func promptly(ctx context.Context, interval time.Duration, do func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Setpriority(unix.PRIO_PROCESS, 0, -10) == nil { // without the right to it, it is as prompt as others
		defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0) //nolint:errcheck // back to what everybody may have
	}
	for ctx.Err() == nil {
		for left := interval; left > 0 && ctx.Err() == nil; left -= nap {
			ts := unix.NsecToTimespec(int64(min(left, nap)))
			_ = unix.Nanosleep(&ts, nil) // woken early: it looks once more
		}
		do()
	}
}

// nap bounds one sleep, so that the end of ctx is seen.
const nap = 20 * time.Millisecond
