package gpu

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/target"
)

// duty slows the encoders down where there is no cgroup: in each period they are stopped once they have had their turn.
type duty struct {
	socket  string
	share   atomic.Uint64 // of a period in which they may run, in millionths
	stopped atomic.Uint64 // periods in which they were held back
	mu      sync.Mutex
	stop    context.CancelFunc // ends the cycle; nil while there is none
	done    chan struct{}
}

// turn is the period of the duty cycle.
const turn = 40 * time.Millisecond

func (d *duty) save() (saved, error) { return saved{Quota: -1}, nil }

// limit takes the share of their own use as the share of time: encoders at real time use the processor evenly.
func (d *duty) limit(ctx context.Context, cores, baseline float64) error {
	// One processor's worth of encoders would need a whole period for each second of work: what they used is what they need.
	d.share.Store(uint64(1e6 * min(1, baseline) * cores / baseline))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		return nil
	}
	if _, err := d.state(ctx); err != nil {
		return err
	}
	ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.done = make(chan struct{})
	go d.run(ctx, d.done)
	return nil
}

func (d *duty) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	for ctx.Err() == nil {
		state, err := d.state(ctx)
		if err != nil {
			target.Wait(ctx, turn)
			continue
		}
		for range 10 { // the encoders may change: ask again ten turns later
			on := turn * time.Duration(d.share.Load()) / 1e6
			signal(state.PIDs, syscall.SIGSTOP)
			target.Wait(ctx, turn-on)
			signal(state.PIDs, syscall.SIGCONT)
			d.stopped.Add(1)
			if !target.Wait(ctx, on) {
				return
			}
		}
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

func (d *duty) read(ctx context.Context) (reading, error) {
	state, err := d.state(ctx)
	return reading{at: time.Now(), cpu: state.CPU, throttled: float64(d.stopped.Load())}, err
}

func (d *duty) state(ctx context.Context) (target.EncoderState, error) {
	var state target.EncoderState
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.socket)
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://unix/encoders", nil)
	if err != nil {
		return state, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return state, err
	}
	defer resp.Body.Close()
	return state, json.NewDecoder(resp.Body).Decode(&state)
}
