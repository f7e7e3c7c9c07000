package media

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Stream is a fault of media of one sort.
type Stream struct {
	tamper
	Sort string `json:"-"` // one of sorts
}

// Shift is one of time.
type Shift struct {
	Stream
	By unit.Duration `json:"by" help:"how much; of a drift: in each second"`
}

// Narrow is a line with room for less than the stream.
type Narrow struct {
	Stream
	To unit.Bitrate `json:"to" help:"what is left for pictures and sound"`
}

// sorts say what is done to a stream, and what a viewer then sees of it: of what was asked for, or that nothing is left.
var sorts = map[string]struct {
	do   func(asked float64) target.Tampering
	name string // of what is measured
	is   func(now, before seen) float64
	hurt func(is, asked float64) bool
	well func(is, asked float64) bool
	over time.Duration
}{
	"stall": {do: func(float64) target.Tampering { return target.Tampering{Stall: true} },
		name: "frames_per_second", is: func(s, _ seen) float64 { return float64(s.video) / s.took.Seconds() }, hurt: none, well: some, over: time.Second},
	"no-audio": {do: func(float64) target.Tampering { return target.Tampering{NoAudio: true} },
		name: "sounds_per_second", is: func(s, _ seen) float64 { return live(s, float64(s.audio)/s.took.Seconds()) }, hurt: none, well: some, over: time.Second},
	"codec-change": {do: func(float64) target.Tampering { return target.Tampering{Codec: true} },
		name: "h264_frames_per_second", is: func(s, _ seen) float64 { return live(s, float64(s.video)/s.took.Seconds()) }, hurt: none, well: some, over: time.Second},
	"bitrate": {do: func(asked float64) target.Tampering { return target.Tampering{Bitrate: asked} },
		name: "bits_per_second", is: func(s, _ seen) float64 { return s.bits / s.took.Seconds() },
		hurt: func(is, asked float64) bool { return is > asked/10 && is < 1.3*asked }, well: func(is, asked float64) bool { return is > 1.3*asked }, over: 3 * time.Second},
	"drift": {do: func(asked float64) target.Tampering { return target.Tampering{Drift: asked} },
		name: "seconds_ahead_per_second", is: func(s, _ seen) float64 { return s.late / 1000 / s.took.Seconds() },
		hurt: near, well: small, over: 2 * time.Second},
	"jump": {do: func(asked float64) target.Tampering { return target.Tampering{Jump: duration(asked)} },
		name: "seconds_ahead", is: func(s, before seen) float64 { return (s.ahead - before.ahead) / 1000 },
		// A publisher who came anew meanwhile has a zero of its own: any other difference than ours is none of ours.
		hurt: near, well: func(is, asked float64) bool { return !near(is, asked) }, over: time.Second},
	"skew": {do: func(asked float64) target.Tampering { return target.Tampering{Skew: duration(asked)} },
		name: "audio_late_seconds", is: func(s, _ seen) float64 { return s.skew / 1000 },
		hurt: near, well: small, over: time.Second},
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// live is a reading of a stream that has pictures, of whatever codec. Of one that has none it says nothing: that is neither the fault nor
// its end.
func live(s seen, reading float64) float64 {
	if s.video+s.foreign == 0 {
		return -1
	}
	return reading
}

func none(is, _ float64) bool      { return is == 0 }
func some(is, _ float64) bool      { return is > 0 }
func near(is, asked float64) bool  { return math.Abs(is-asked) < asked/3 }
func small(is, asked float64) bool { return math.Abs(is) < asked/3 }

// Validate finds settings that cannot work.
func (f *Stream) Validate() error {
	err := f.tamper.Validate()
	if _, ok := sorts[f.Sort]; !ok {
		err = errors.Join(err, fmt.Errorf("sort: %q is none", f.Sort))
	}
	return err
}

// Validate finds settings that cannot work.
func (f *Shift) Validate() error {
	err := f.Stream.Validate()
	if d := time.Duration(f.By); d < 200*time.Millisecond || d > 10*time.Second {
		err = errors.Join(err, fmt.Errorf("by: %s is not between 200ms and 10s", f.By))
	}
	return err
}

// Validate finds settings that cannot work.
func (f *Narrow) Validate() error {
	err := f.Stream.Validate()
	if f.To < 80_000 || f.To > 100e6 {
		err = errors.Join(err, fmt.Errorf("to: %s is not between 80k, which sound alone can need, and 100M", f.To))
	}
	return err
}

// Check is part of injectors.Fault.
func (f *Stream) Check(ctx context.Context, on target.Component) error {
	err := f.tamper.Check(ctx, on)
	if err == nil && f.before.audio == 0 && (f.Sort == "no-audio" || f.Sort == "skew") {
		err = fmt.Errorf("%s has no sound", f.Channel)
	}
	return err
}

// Check is part of injectors.Fault.
func (f *Narrow) Check(ctx context.Context, on target.Component) error {
	if err := f.Stream.Check(ctx, on); err != nil {
		return err
	}
	s, err := f.watch(ctx, on, 2*time.Second) // over key frames and what lies between them
	if has := s.bits / s.took.Seconds(); err == nil && has < 2*float64(f.To) {
		err = fmt.Errorf("the stream has %s: a limit of %s would not be felt", unit.Bitrate(has), f.To)
	}
	return err
}

// Inject is part of injectors.Fault.
func (f *Stream) Inject(ctx context.Context, on target.Component) error { return f.tell(ctx, on, 0) }

// Inject is part of injectors.Fault.
func (f *Shift) Inject(ctx context.Context, on target.Component) error {
	return f.tell(ctx, on, f.By.Seconds())
}

// Inject is part of injectors.Fault.
func (f *Narrow) Inject(ctx context.Context, on target.Component) error {
	return f.tell(ctx, on, float64(f.To))
}

func (f *Stream) tell(ctx context.Context, on target.Component, asked float64) error {
	return injectors.Tell(ctx, on, "ingest", sorts[f.Sort].do(asked))
}

// Effect is part of injectors.Fault.
func (f *Stream) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return f.effect(ctx, on, 0)
}

// Effect is part of injectors.Fault.
func (f *Shift) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return f.effect(ctx, on, f.By.Seconds())
}

// Effect is part of injectors.Fault.
func (f *Narrow) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return f.effect(ctx, on, float64(f.To))
}

// effect plays the stream, and looks at what the fault is about.
func (f *Stream) effect(ctx context.Context, on target.Component, asked float64) (injectors.Measured, error) {
	sort := sorts[f.Sort]
	s, err := f.watch(ctx, on, sort.over)
	if err != nil {
		return unseen(ctx, on, sort.name, err)
	}
	is := sort.is(s, f.before)
	return injectors.Measured{N: uint64(max(s.video+s.foreign+s.audio, 1)), Asked: map[string]float64{sort.name: asked},
		Is: map[string]float64{sort.name: is, "frames": float64(s.video), "sounds": float64(s.audio)}, Bites: sort.hurt(is, asked), Clean: sort.well(is, asked),
		Reason: fmt.Sprintf("%s is %.3g, asked was %.3g", sort.name, is, asked)}, nil
}
