package gpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// Contention lets others encode on the same card, as fast as they can; where none encodes, in the encoders' own cgroup.
type Contention struct {
	Encoders int `json:"encoders" help:"that encode beside the platform's"`

	frames []atomic.Uint64 // that each has encoded
	means  string          // of encoding, here
}

// Validate finds settings that cannot work.
func (f *Contention) Validate() error {
	if f.Encoders < 1 || f.Encoders > 32 {
		return fmt.Errorf("encoders: %d is not between 1 and 32", f.Encoders)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (f *Contention) BackEnd() string { return f.means }

func (*Contention) name(on target.Component) string { return "gpu neighbours " + on.Name }

// Check is part of injectors.Fault.
func (f *Contention) Check(_ context.Context, on target.Component) error {
	if on.Handles.Encoder == nil {
		return errNoEncoder
	}
	if f.means = "nvenc"; on.Handles.Encoder.GPU == nil {
		f.means = "emulated"
	}
	if injectors.Begun(f.name(on)) {
		return errors.New("another fault has its encoders beside it already")
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return errors.New("ffmpeg is missing on this machine (apt-get install ffmpeg)")
	}
	return nil
}

// Save is part of injectors.Fault: neighbours go when they are told to.
func (*Contention) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// neighbour is the command line of one encoder.
func neighbour(e *target.Encoder) []string {
	codec := []string{"-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"}
	if e.GPU != nil {
		codec = []string{"-c:v", "h264_nvenc", "-gpu", strconv.Itoa(*e.GPU)}
	}
	args := []string{"-v", "error", "-nostdin", "-progress", "pipe:1", "-stats_period", "0.2", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"}
	return append(append(args, codec...), "-f", "null", "-")
}

// Inject is part of injectors.Fault. It returns when each neighbour has encoded something.
func (f *Contention) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := on.Handles.Encoder
	f.frames = make([]atomic.Uint64, f.Encoders)
	err := injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
		var wg sync.WaitGroup
		for i := range f.frames {
			encoder := target.Program{Path: "ffmpeg", Args: neighbour(e), Output: &progress{frames: &f.frames[i]}, Started: func(pid int) {
				_ = hosts.AddToCgroup(e.Cgroup, pid) // outside of it, it takes the same processor from them
			}}
			wg.Go(func() { _ = encoder.Keep(ctx, func(error) {}) })
		}
		wg.Wait()
	})
	if err != nil {
		return err
	}
	err = target.WaitUntil(ctx, 14*time.Second, func() bool {
		for i := range f.frames {
			if f.frames[i].Load() == 0 {
				return false
			}
		}
		return true
	})
	if err != nil {
		injectors.End(f.name(on))
		return fmt.Errorf("the neighbours encode nothing: %w", err)
	}
	return nil
}

// progress reads ffmpeg's own account of what it has encoded: lines of the form frame=N.
type progress struct {
	frames *atomic.Uint64
	rest   []byte
	last   uint64
}

// Write is part of io.Writer.
func (p *progress) Write(text []byte) (int, error) {
	p.rest = append(p.rest, text...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte{'\n'})
		if !whole {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("frame=")); ok {
			if n, err := strconv.ParseUint(string(bytes.TrimSpace(v)), 10, 64); err == nil {
				if n < p.last { // it was started again
					p.last = 0
				}
				p.frames.Add(n - p.last)
				p.last = n
			}
		}
		p.rest = rest
	}
	if len(p.rest) > 4096 { // no line of that account
		p.rest = nil
	}
	return len(text), nil
}

// Effect counts for a second what the neighbours encode, by ffmpeg's own account: it bites when there are frames of them. What
// that does to the platform's own encoders is the platform's answer. It is clean when no such process runs.
func (f *Contention) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	if on.Handles.Encoder == nil {
		return injectors.Measured{}, errNoEncoder
	}
	count := func() (n uint64) {
		for i := range f.frames {
			n += f.frames[i].Load()
		}
		return n
	}
	there, err := hosts.Running(on.Handles.Encoder.Cgroup, "ffmpeg", neighbour(on.Handles.Encoder)...)
	if err != nil {
		return injectors.Measured{}, err
	}
	before, start := count(), time.Now()
	if len(there) > 0 && !target.Wait(ctx, time.Second) {
		return injectors.Measured{}, ctx.Err()
	}
	frames := float64(count()-before) / max(time.Since(start).Seconds(), 1e-3)
	return injectors.Measured{N: uint64(max(frames, 1)), Asked: map[string]float64{"encoders": float64(f.Encoders)},
		Is: map[string]float64{"frames_per_second": frames}, Bites: len(there) > 0 && frames >= float64(f.Encoders), Clean: len(there) == 0,
		Reason: fmt.Sprintf("%d neighbours encode %.0f frames a second", len(there), frames)}, nil
}

// Restore is part of injectors.Fault.
func (f *Contention) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	return nil
}
