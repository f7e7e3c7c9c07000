package gpu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Overheat lets a modelled card grow too hot, as with a fan that has failed: work heats it, idleness cools it, above the limit its clocks
// are cut, and 5 °C below they are given back. Heat goes by Newton's law, so the card goes to and fro between the two, as real ones do.
// The heat is a model's in every case; the cut is a real card's, or the emulation's.
type Overheat struct {
	Load  float64       `json:"load" unit:"°C" help:"where the card would settle under the work that it has"`
	Limit float64       `json:"limit" unit:"°C" help:"above which the clocks are cut"`
	To    unit.Ratio    `json:"to" unit:"ratio" help:"share of the speed that is left then"`
	Over  unit.Duration `json:"over" help:"time constant of heating and cooling"`

	braked
	mu   sync.Mutex
	heat heat
}

// heat is what the model has come to.
type heat struct {
	celsius float64
	cut     bool
	turns   int // times that the clocks were cut so far
}

const (
	idleHeat   = 30 // °C of a card without work
	hysteresis = 5  // °C below the limit at which the clocks come back
	heatStep   = 50 * time.Millisecond
)

// Validate finds settings that cannot work.
func (f *Overheat) Validate() error {
	var errs []error
	if !(f.Limit > idleHeat+2*hysteresis && f.Limit <= 120) {
		errs = append(errs, fmt.Errorf("limit: %g °C is not between %d and 120", f.Limit, idleHeat+2*hysteresis))
	}
	if !(f.Load > f.Limit && f.Load <= 200) {
		errs = append(errs, fmt.Errorf("load: %g °C is not between the limit and 200", f.Load))
	}
	if f.To < 0.05 || f.To > 0.95 {
		errs = append(errs, fmt.Errorf("to: %s is not between 5%% and 95%%", f.To))
	}
	if d := time.Duration(f.Over); d < 200*time.Millisecond || d > 10*time.Second {
		errs = append(errs, fmt.Errorf("over: %s is not between 200ms and 10s", f.Over))
	} else if turns := f.firstCut(); len(errs) == 0 && (turns > 4 || turns*d.Seconds() > 10) {
		errs = append(errs, fmt.Errorf("load: towards %g °C it takes %.1f times %s to be above the limit of %g °C: too long to be proven", f.Load, turns, f.Over, f.Limit))
	}
	return errors.Join(append(errs, f.validate())...)
}

// firstCut is how long the card needs from 5 °C below the limit to it, in time constants.
func (f *Overheat) firstCut() float64 {
	return math.Log((f.Load - f.Limit + hysteresis) / (f.Load - f.Limit))
}

func (*Overheat) name(on target.Component) string { return "gpu heat " + on.Name }

// Check is part of injectors.Fault.
func (f *Overheat) Check(ctx context.Context, on target.Component) error {
	if injectors.Begun(f.name(on)) {
		return errors.New("another fault heats its card already")
	}
	return f.braked.Check(ctx, on)
}

// Inject is part of injectors.Fault. The card starts at the point where its clocks come back, and Inject returns when they were cut for the
// first time.
func (f *Overheat) Inject(ctx context.Context, on target.Component) error {
	if f.usual > 0 {
		return errors.New("the encoders are held back by something else already: nobody could tell what the heat does")
	}
	was, err := f.brake.save()
	if err != nil {
		return err
	}
	f.heat = heat{celsius: f.Limit - hysteresis}
	if err := injectors.Begin(ctx, f.name(on), func(ctx context.Context) { f.live(ctx, was) }); err != nil {
		return err
	}
	err = target.WaitUntil(ctx, 5*time.Duration(f.Over), func() bool { return f.now().cut })
	if err != nil {
		injectors.End(f.name(on))
		return errors.Join(fmt.Errorf("the card stays at %.0f °C: %w", f.now().celsius, err), f.brake.release(context.WithoutCancel(ctx), was))
	}
	return nil
}

func (f *Overheat) now() heat {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heat
}

// live carries the model on, by what the encoders are seen to do.
func (f *Overheat) live(ctx context.Context, was saved) {
	for ctx.Err() == nil {
		start := time.Now()
		speed, err := f.brake.speed(ctx, resource.Turn) // over a whole turn of a brake that has turns
		if err != nil {
			target.Wait(ctx, heatStep)
			continue
		}
		h := f.now()
		next := h.after(time.Since(start), speed/f.baseline, f)
		if next.cut != h.cut {
			if next.cut {
				err = f.brake.limit(ctx, float64(f.To), f.baseline)
			} else {
				err = f.brake.release(ctx, was)
			}
			if err != nil {
				continue // it is tried again in the next step; the effect tells
			}
		}
		f.mu.Lock()
		f.heat = next
		f.mu.Unlock()
	}
}

// after is the card's heat a time later, at a share of its work.
func (h heat) after(d time.Duration, work float64, f *Overheat) heat {
	settles := idleHeat + (f.Load-idleHeat)*min(work, 1.5)
	h.celsius += (settles - h.celsius) * min(d.Seconds()/f.Over.Seconds(), 1)
	switch {
	case !h.cut && h.celsius >= f.Limit:
		h.cut = true
		h.turns++
	case h.cut && h.celsius <= f.Limit-hysteresis:
		h.cut = false
	}
	return h
}

// Effect reads for two seconds how hot the card is and what the kernel or the card says of the encoders: it bites when they were held
// back, and is clean when they are not and nobody heats the card.
func (f *Overheat) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	b, err := f.use(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	before, err := b.held(ctx)
	if err != nil {
		return injectors.Measured{}, err
	}
	const over = 2 * time.Second
	var cut, n int
	var hottest float64
	heating := injectors.Begun(f.name(on))
	if !heating { // a card tells by its readings alone whether it is held back
		if _, err := b.speed(ctx, over); err != nil {
			return injectors.Measured{}, err
		}
	}
	for end := time.Now().Add(over); heating && time.Now().Before(end); n++ {
		h := f.now()
		hottest = max(hottest, h.celsius)
		if h.cut {
			cut++
		}
		if !target.Wait(ctx, heatStep) {
			return injectors.Measured{}, ctx.Err()
		}
	}
	after, err := b.held(ctx)
	if err != nil {
		return injectors.Measured{}, err
	}
	held := after - before
	now, err := b.save()
	return injectors.Measured{N: uint64(max(held, 1)), Asked: map[string]float64{"limit_celsius": f.Limit, "speed_ratio_when_hot": float64(f.To)},
		Is:    map[string]float64{"modelled_celsius": hottest, "time_cut_ratio": float64(cut) / float64(max(n, 1)), "held_back": held, "cuts": float64(f.now().turns)},
		Bites: heating && held > 0 && cut > 0, Clean: !heating && f.free(held, now),
		Reason: fmt.Sprintf("the modelled card is at %.0f °C, its clocks are cut %.0f%% of the time; the encoders were held back %.0f times", hottest,
			100*float64(cut)/float64(max(n, 1)), held)}, err
}

// Restore is part of injectors.Fault.
func (f *Overheat) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	injectors.End(f.name(on))
	return f.braked.Restore(ctx, on, was)
}
