package gpu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// duty slows the encoders down where there is no cgroup: in each turn they are stopped once they have had their time. How
// long that is follows from what they are seen to use.
type duty struct {
	socket  string
	want    atomic.Uint64 // cores that they may use, in millionths
	stopped atomic.Uint64 // turns in which they were held back
	mu      sync.Mutex
	stop    context.CancelFunc // ends the cycle; nil while there is none
	done    chan struct{}
}

// On a busy machine a sleep ends milliseconds late, and without rights nothing can be done about it: a turn is long enough for that not to
// matter, and there are enough of them in the second in which the effect is measured.
const (
	turn  = 160 * time.Millisecond
	turns = 3 // between two readings of what they use
)

func (d *duty) save() (saved, error) { return saved{Limits: resource.Limits{Quota: -1}}, nil }

func (*duty) name() string { return "emulated" }
func (*duty) unit() string { return "cores" }

// slack is wider than a quota's: processes' own clocks tick in hundredths of a second.
func (*duty) slack() float64 { return 1.3 }

func (d *duty) limit(ctx context.Context, share, before float64) error {
	d.want.Store(uint64(1e6 * share * before))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		return nil
	}
	first, err := d.state(ctx)
	if err != nil {
		return err
	}
	ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.done = make(chan struct{})
	go d.run(ctx, d.done, first)
	return nil
}

// settle waits until the cycle has found the share of time that it takes. If it does not, the effect, which is measured
// next, says what there is.
func (d *duty) settle(ctx context.Context, share, before float64) error {
	for range 10 {
		cores, err := d.speed(ctx, 2*turns*turn)
		if err != nil || cores <= 1.1*share*before {
			return err
		}
	}
	return nil
}

// run begins with the share of time in which all processors together could not do more than is wanted, and goes on from
// there by what is seen.
func (d *duty) run(ctx context.Context, done chan struct{}, last target.EncoderState) {
	defer close(done)
	share := float64(d.want.Load()) / 1e6 / float64(runtime.NumCPU())
	for at := time.Now(); ctx.Err() == nil; {
		for range turns {
			on := time.Duration(share * float64(turn))
			pids := last.PIDs
			if now, err := d.state(ctx); err == nil { // an encoder that gave up has a successor, which starts at full speed
				pids = now.PIDs
			}
			signal(pids, syscall.SIGSTOP)
			target.Wait(ctx, turn-on)
			if slices.ContainsFunc(pids, stopped) { // the kernel has them so, not we alone
				d.stopped.Add(1)
			}
			signal(pids, syscall.SIGCONT)
			if !target.Wait(ctx, on) {
				return
			}
		}
		now, err := d.state(ctx)
		if err != nil {
			continue
		}
		used := (now.CPU - last.CPU) / time.Since(at).Seconds()
		last, at = now, time.Now()
		change := float64(d.want.Load()) / 1e6 / max(used, 1e-3)
		share = min(max(share*min(max(change, 0.7), 1.3), 0.005), 0.98)
	}
}

// signal sends to encoders; one that has ended is no error.
func signal(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s)
	}
}

func (d *duty) release(ctx context.Context, _ saved) error {
	d.mu.Lock()
	if d.stop != nil {
		d.stop()
		<-d.done
		d.stop = nil
	}
	d.mu.Unlock()
	state, err := d.state(ctx)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) { // the range is gone, and they with it
		return nil
	}
	signal(state.PIDs, syscall.SIGCONT)
	return err
}

// speed is the cores that the encoders use, by their own account.
func (d *duty) speed(ctx context.Context, over time.Duration) (float64, error) {
	return rate(ctx, over, func(ctx context.Context) (float64, error) {
		state, err := d.state(ctx)
		return state.CPU, err
	})
}

// held is the turns in which the encoders were stopped; an encoder that is found stopped outside of them counts too.
func (d *duty) held(ctx context.Context) (float64, error) {
	state, err := d.state(ctx)
	d.mu.Lock()
	turning := d.stop != nil
	d.mu.Unlock()
	if !turning {
		for _, pid := range state.PIDs {
			if stopped(pid) {
				d.stopped.Add(1)
			}
		}
	}
	return float64(d.stopped.Load()), err
}

// stopped tells whether the kernel has a process as stopped by a signal.
func stopped(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	end := bytes.LastIndexByte(text, ')')
	return err == nil && end >= 0 && len(text) > end+2 && text[end+2] == 'T'
}

func (d *duty) state(ctx context.Context) (target.EncoderState, error) {
	return encoders(ctx, d.socket)
}

// encoders asks the transcoder for its encoders.
func encoders(ctx context.Context, socket string) (target.EncoderState, error) {
	var state target.EncoderState
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://unix/encoders", nil)
	if err != nil {
		return state, err
	}
	resp, err := record.Client(socket).Do(req)
	if err != nil {
		return state, err
	}
	defer resp.Body.Close()
	return state, json.NewDecoder(resp.Body).Decode(&state)
}
