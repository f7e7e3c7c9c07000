package network

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

// Loss loses packets, each by itself or several in a row (Gilbert's model: in its bad state the link loses everything), by a pattern that is
// drawn by the seed for each direction.
type Loss struct {
	filtering
	injectors.Drawn
	Share     unit.Ratio `json:"loss" unit:"ratio" help:"share of packets that are lost in each direction"`
	Direction Direction  `json:"direction" help:"both, to (the component) or from"`
	Burst     float64    `json:"burst" unit:"packets" help:"mean number of packets lost in a row"`
}

// leastLoss is so much that a probe without a single loss would be a miracle: (1 - 2 %)^1000 = 2e-9.
const leastLoss = 0.02

const (
	probePackets = 1000
	probeSize    = 64
	probeTime    = 500 * time.Millisecond
)

// Validate finds settings that cannot work.
func (f *Loss) Validate() error {
	var errs []error
	if f.Share < leastLoss {
		errs = append(errs, fmt.Errorf("loss: below %s it cannot be proven with %d packets", unit.Ratio(leastLoss), probePackets))
	}
	switch {
	case !(f.Burst >= 1 && f.Burst <= 50):
		errs = append(errs, fmt.Errorf("burst: %g is not between 1 and 50", f.Burst))
	case f.Burst > 1 && float64(f.Share) > f.Burst/(1+f.Burst):
		errs = append(errs, fmt.Errorf("loss: with bursts of %g, %s would leave no packet between two of them", f.Burst, f.Share))
	}
	return errors.Join(errs...)
}

// Inject is part of injectors.Fault.
func (f *Loss) Inject(_ context.Context, on target.Component) error {
	return drop(on.Handles.Network, f.Direction, share(float64(f.Share), f.Burst, f.Seed))
}

// Effect sends packets over the link and counts them at the other end. It bites when what was asked for is within four
// standard errors of what was seen in each direction, and is clean when at most 1 % is lost, and a quarter of what was asked.
// Losses in a row are worth fewer packets: with a correlation ρ = 1-p-r the standard error grows by √((1+ρ)/(1-ρ)).
func (f *Loss) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	widen := 1.0
	if f.Burst > 1 {
		// The chances of Gilbert's model to go from good to bad and from bad to good.
		r := 1 / f.Burst
		p := r * float64(f.Share) / (1 - float64(f.Share))
		widen = math.Sqrt((2 - p - r) / (p + r))
	}
	m, seen, err := lossEffect(ctx, on, f.Direction, float64(f.Share), widen)
	if err == nil && f.Burst > 1 {
		// With k bursts in the probe their mean length has a relative error of about 1/√k: four of these, as above.
		length, lost := 0.0, 0.0
		for _, s := range seen {
			n := float64(s.missing())
			length, lost = length+s.burst()*n, lost+n
		}
		length /= math.Max(lost, 1)
		bursts := lost / math.Max(length, 1)
		m.Asked["burst_packets"], m.Is["burst_packets"] = f.Burst, length
		if m.Bites && math.Abs(length-f.Burst) > 4*f.Burst/math.Sqrt(math.Max(bursts, 1))+0.2 {
			m.Bites, m.Reason = false, fmt.Sprintf("%.1f packets were lost in a row, asked were %g", length, f.Burst)
		}
	}
	return m, err
}

// lossEffect measures the loss in both directions against what was asked for in one or both, and gives the flows of those.
func lossEffect(ctx context.Context, on target.Component, way Direction, asked, widen float64) (injectors.Measured, []flow, error) {
	toHost, fromHost, err := probe(ctx, on.Handles.Network, probePackets, probeSize, probeTime)
	if err != nil {
		return injectors.Measured{}, nil, err
	}
	m := injectors.Measured{Asked: map[string]float64{"loss_ratio": asked},
		Is: map[string]float64{"to_host_loss_ratio": toHost.loss(), "from_host_loss_ratio": fromHost.loss()}, Bites: true, Clean: true}
	var lost uint64
	for _, d := range []struct {
		name string
		flow
		asked bool
	}{{"to the host", toHost, way != From}, {"from the host", fromHost, way != To}} {
		want := 0.0
		if d.asked {
			want = asked
			m.N += d.sent
			lost += d.missing()
		}
		bound := 4*widen*math.Sqrt(want*(1-want)/float64(max(d.sent, 1))) + 0.002
		if d.asked && (math.Abs(d.loss()-want) > bound || d.loss() == 0) || !d.asked && d.loss() > 0.01 {
			m.Bites = false
			m.Reason = fmt.Sprintf("%.1f%% of %d packets %s were lost, asked were %.1f%%", d.loss()*100, d.sent, d.name, want*100)
		}
		if d.loss() > min(0.01, asked/4) {
			m.Clean = false
		}
	}
	m.Is["loss_ratio"] = float64(lost) / float64(max(m.N, 1))
	m.Bound("loss_ratio", float64(m.N)/(widen*widen))
	if m.N == 0 {
		m.Bites, m.Clean, m.Reason = false, false, "no packet of the probe could be sent"
	}
	if !m.Clean && m.Reason == "" {
		m.Reason = fmt.Sprintf("%.1f%% of %d packets are lost", m.Is["loss_ratio"]*100, m.N)
	}
	return m, way.of(toHost, fromHost), nil
}
