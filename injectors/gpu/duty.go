package gpu

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// duty slows the encoders down where there is no cgroup, in turns.
type duty struct {
	resource.Duty
	mu   sync.Mutex
	stop context.CancelFunc // ends the cycle; nil while there is none
	done chan struct{}
}

func newDuty(socket string) *duty {
	return &duty{Duty: resource.Duty{State: func(ctx context.Context) ([]int, float64, error) {
		state, err := encoders(ctx, socket)
		return state.PIDs, state.CPU, err
	}}}
}

func (d *duty) save() (saved, error) { return saved{Limits: resource.Limits{Quota: -1}}, nil }

func (*duty) name() string   { return "emulated" }
func (*duty) unit() string   { return "cores" }
func (*duty) slack() float64 { return resource.DutySlack }

func (d *duty) limit(ctx context.Context, share, before float64) error {
	d.Limit(share * before)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		return nil
	}
	ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	d.done = done
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	return nil
}

func (d *duty) settle(ctx context.Context, share, before float64) error {
	return d.Settle(ctx, share*before)
}

func (d *duty) release(ctx context.Context, _ saved) error {
	d.mu.Lock()
	if d.stop != nil {
		d.stop()
		<-d.done
		d.stop = nil
	}
	d.mu.Unlock()
	err := d.Release(ctx)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) { // the range is gone, and they with it
		return nil
	}
	return err
}

func (d *duty) speed(ctx context.Context, over time.Duration) (float64, error) {
	return d.Speed(ctx, over)
}

func (d *duty) held(ctx context.Context) (float64, error) { return d.Held(ctx) }

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

// media begins to measure how many seconds of media come out of the encoders in a second; ok is false where nobody tells.
func media(ctx context.Context, on target.Component) (slope func(context.Context) (out float64, ok bool)) {
	e, start := on.Handles.Encoder, time.Now()
	if e == nil || e.Socket == "" {
		return func(context.Context) (float64, bool) { return 0, false }
	}
	before, err := encoders(ctx, e.Socket)
	return func(ctx context.Context) (float64, bool) {
		after, later := encoders(ctx, e.Socket)
		return (after.Media - before.Media) / time.Since(start).Seconds(), err == nil && later == nil
	}
}
