package gpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/target"
)

// brake is a way to slow the encoders down.
type brake interface {
	// name is the back end as reports show it.
	name() string
	// save reads what release has to put back.
	save() (saved, error)
	// limit leaves the encoders a share of the speed that they had before.
	limit(ctx context.Context, share, before float64) error
	// settle returns when the limit is what the encoders really get.
	settle(ctx context.Context, share, before float64) error
	// release puts back what was there.
	release(ctx context.Context, was saved) error
	// speed measures for a time how fast the encoders are, in the brake's own unit.
	speed(ctx context.Context, over time.Duration) (float64, error)
	// held counts how often the encoders were held back so far.
	held(ctx context.Context) (float64, error)
	// unit is that of speed.
	unit() string
	// slack is the factor by which speed may be seen above its limit.
	slack() float64
}

// saved is what a brake found.
type saved struct {
	resource.Limits
	Card   bool   `json:"card,omitempty"` // it is a real card's setting, which outlives a range
	Power  uint32 `json:"power_mw,omitempty"`
	Clocks clocks `json:"clocks,omitzero"`
}

// clocks are a card's application clocks.
type clocks struct {
	Memory   uint32 `json:"memory_mhz"`
	Graphics uint32 `json:"graphics_mhz"`
}

// braked is what the faults have in common that slow the encoders down.
type braked struct {
	By string `json:"by" help:"of a real card: power (its power limit) or clocks (its application clocks)"`

	brake    brake
	was      saved
	baseline float64 // speed of the encoders before, in the brake's own unit
	usual    float64 // times that they were held back in a second before
}

// leastSpeed is what nothing can be cut of, in cores or megahertz.
const leastSpeed = 0.005

// free tells whether the encoders are held back no more: not at all, or, where something held them back before, by the setting that was there.
func (b *braked) free(held float64, now saved) bool { return held == 0 || b.usual > 0 && now == b.was }

// BackEnd is part of injectors.BackEnded.
func (b *braked) BackEnd() string {
	if b.brake == nil {
		return "emulated"
	}
	return b.brake.name()
}

// Lasts is part of injectors.Lasting.
func (*braked) Lasts(was injectors.Original) bool {
	var s saved
	return was.Read(&s) == nil && s.Card
}

// Mend is part of injectors.Lasting.
func (*braked) Mend(on target.Component, was injectors.Original) string {
	var s saved
	if was.Read(&s) != nil || on.Handles.Encoder == nil || on.Handles.Encoder.GPU == nil {
		return ""
	}
	if s.Clocks != (clocks{}) {
		return fmt.Sprintf("nvidia-smi --id=%d --applications-clocks=%d,%d", *on.Handles.Encoder.GPU, s.Clocks.Memory, s.Clocks.Graphics)
	}
	return fmt.Sprintf("nvidia-smi --id=%d --power-limit=%g", *on.Handles.Encoder.GPU, float64(s.Power)/1000) // it takes watts
}

var errNoEncoder = errors.New("it has no encoders")

// validate finds a setting that cannot work.
func (b *braked) validate() error {
	if b.By != byPower && b.By != byClocks {
		return fmt.Errorf("by: %q is not %s or %s", b.By, byPower, byClocks)
	}
	return nil
}

// The ways in which a card can be slowed down.
const (
	byPower  = "power"
	byClocks = "clocks"
)

// choose takes the card that encodes, else the encoders' cgroup, else their processes.
func (b *braked) choose(on target.Component) (brake, error) {
	e := on.Handles.Encoder
	switch {
	case e == nil:
		return nil, errNoEncoder
	case e.GPU != nil:
		return openCard(*e.GPU, b.By)
	case e.Cgroup.Version > 0:
		return quota{resource.Quota{Group: e.Cgroup}}, nil
	default:
		return newDuty(e.Socket), nil
	}
}

// use gives the brake that this fault has chosen, or chooses one.
func (b *braked) use(on target.Component) (brake, error) {
	if b.brake != nil {
		return b.brake, nil
	}
	return b.choose(on)
}

// Check is part of injectors.Fault.
func (b *braked) Check(ctx context.Context, on target.Component) error {
	chosen, err := b.choose(on)
	if err == nil {
		_, err = chosen.held(ctx)
	}
	if err == nil {
		b.brake = chosen
	}
	return err
}

// Save is part of injectors.Fault. It measures for a second how fast the encoders are, too, to be held against what comes.
func (b *braked) Save(ctx context.Context, on target.Component) (_ injectors.Original, err error) {
	if b.brake, err = b.use(on); err != nil {
		return nil, err
	}
	if b.was, err = b.brake.save(); err != nil {
		return nil, err
	}
	before, err := b.brake.held(ctx)
	if err != nil {
		return nil, err
	}
	if b.baseline, err = b.brake.speed(ctx, time.Second); err != nil {
		return nil, err
	}
	after, err := b.brake.held(ctx)
	if err != nil {
		return nil, err
	}
	b.usual = after - before
	if b.baseline < leastSpeed {
		return nil, fmt.Errorf("the encoders use %.3f %s: nothing is being encoded (no stream comes in, or the transcoder has given up and tries again in some seconds)",
			b.baseline, b.brake.unit())
	}
	return injectors.Keep(b.was)
}

// Restore is part of injectors.Fault.
func (b *braked) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	chosen, err := b.use(on)
	if err != nil {
		return err
	}
	var s saved
	if err := was.Read(&s); err != nil {
		return err
	}
	return chosen.release(ctx, s)
}
