package network

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Delay makes a path longer: every packet that comes to the host, or from it, is held for a time. A round trip through the host grows by
// the delay once, or twice where both directions are longer. With jitter each packet has a delay of its own, and may overtake others, as with netem.
type Delay struct {
	queued
	injectors.Drawn
	By           unit.Duration `json:"delay" help:"time that every packet is held"`
	Jitter       unit.Duration `json:"jitter" help:"how far single packets are from that: half the width, or the standard deviation"`
	Distribution string        `json:"distribution" help:"of the jitter: uniform, normal, or pareto (a long tail)"`
	Correlation  unit.Ratio    `json:"correlation" help:"how much of a packet's jitter is that of the one before"`
}

// Validate finds settings that cannot work.
func (f *Delay) Validate() error {
	d, j := time.Duration(f.By), time.Duration(f.Jitter)
	switch {
	case d < 5*time.Millisecond || d > 3*time.Second:
		return fmt.Errorf("delay: %s is not between 5ms and 3s", f.By)
	case j > d/2:
		return fmt.Errorf("jitter: %s is more than half the delay", f.Jitter)
	case !slices.Contains([]string{"uniform", "normal", "pareto"}, f.Distribution):
		return fmt.Errorf("distribution: %q is not uniform, normal or pareto", f.Distribution)
	case f.Correlation > 0.95:
		return fmt.Errorf("correlation: above 95%% the delay would hardly move")
	}
	return nil
}

// Inject is part of injectors.Fault.
func (f *Delay) Inject(ctx context.Context, on target.Component) error {
	return f.enqueue(ctx, on.Handles.Network, f.fates)
}

// fates is a stream of delays.
func (f *Delay) fates(number uint64) func() fate {
	rng := rand.New(rand.NewPCG(f.Seed, 0x64656c6179+number))
	draw := map[string]func() float64{
		"uniform": func() float64 { return 2*rng.Float64() - 1 },
		"normal":  rng.NormFloat64,
		// Shape 3 has a mean of 1.5 and a standard deviation of 0.87 above its least value; both are taken out.
		"pareto": func() float64 { return (math.Pow(1-rng.Float64(), -1.0/3) - 1.5) / 0.866 },
	}[f.Distribution]
	last, c := 0.0, float64(f.Correlation)
	// A sum of a share c of the last value and of a new one keeps its spread when the new one has the weight √(1-c²).
	fresh := math.Sqrt(1 - c*c)
	return func() fate {
		if f.Jitter == 0 {
			return fate{hold: time.Duration(f.By)}
		}
		last = c*last + fresh*draw()
		return fate{hold: max(time.Duration(f.By)+time.Duration(last*float64(f.Jitter)), 0)}
	}
}

// quartiles are the median of the delays, and the distance between the quarters around it. Unlike mean and deviation they say the
// same on a machine that holds a packet of the probe back now and then.
func (f *Delay) quartiles() (median, width time.Duration) {
	j := float64(f.Jitter)
	switch f.Distribution {
	case "normal":
		width = time.Duration(1.349 * j)
	case "pareto": // of u^(-1/3): 1.26 in the middle, 1.101 and 1.587 at the quarters, shifted and scaled as above
		return time.Duration(f.By) - time.Duration(0.277*j), time.Duration(0.562 * j)
	default:
		width = time.Duration(j)
	}
	return time.Duration(f.By), width
}

// Effect sends packets over the link and looks at the time that they need. It bites when the median is what was asked for, within a
// fifth or 5 ms, the width of the jitter within a third or 4 ms, in each direction, and no queue overflowed; it is clean when the median is
// below half of what was asked for, and below 5 ms: a link of the range takes a tenth of one.
func (f *Delay) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	asked, wide := f.quartiles()
	seen, err := f.watched(ctx, on.Handles.Network, 2*asked)
	if err != nil {
		return injectors.Measured{}, err
	}
	m := injectors.Measured{Asked: map[string]float64{"delay_seconds": asked.Seconds(), "jitter_width_seconds": wide.Seconds()},
		Is: map[string]float64{}, Bites: seen.drops == 0, Clean: true}
	dropped := seen.note(&m)
	worst := time.Duration(-1)
	for _, s := range seen.flows {
		low, median, high := s.quartiles()
		width := high - low
		m.N += s.received
		m.Bites = m.Bites && s.received > 0 && (median-asked).Abs() < max(asked/5, 5*time.Millisecond) &&
			(f.Jitter == 0 || (width-wide).Abs() < max(wide/3, 4*time.Millisecond))
		m.Clean = m.Clean && s.received > 0 && median < min(asked/2, 5*time.Millisecond)
		if off := (median - asked).Abs(); off > worst { // of two directions, that which is farther from what was asked for is told
			worst = off
			first, last := s.delayBounds()
			m.Is["delay_seconds_low"], m.Is["delay_seconds_high"] = first.Seconds(), last.Seconds()
			m.Is["delay_seconds"], m.Is["jitter_width_seconds"], m.Is["loss_ratio"] = median.Seconds(), width.Seconds(), s.loss()
			if f.Correlation > 0 && f.Jitter > 0 { // others' packets between those of the probe take their part of it
				m.Asked["correlation"], m.Is["correlation"] = float64(f.Correlation), s.correlation()
			}
			m.Reason = fmt.Sprintf("the delay of %d packets is %s, half of them within %s; %s", s.received,
				median.Round(10*time.Microsecond), width.Round(10*time.Microsecond), dropped)
		}
	}
	return m, nil
}
