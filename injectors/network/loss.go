package network

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Loss loses packets at random, in both directions, independently of each other.
type Loss struct {
	dropping
	Share unit.Ratio `json:"loss" unit:"ratio" help:"share of packets that are lost in each direction"`
}

// Validate finds settings that cannot work.
func (f *Loss) Validate() error {
	if f.Share < leastLoss {
		return fmt.Errorf("loss: below %s it cannot be proven with %d packets", unit.Ratio(leastLoss), probePackets)
	}
	return nil
}

// Inject is part of injectors.Fault.
func (f *Loss) Inject(_ context.Context, on target.Component) error {
	return drop(on.Handles.Network, float64(f.Share))
}

// Effect sends packets over the link and counts them at the other end. It bites when what was asked for is within four
// standard errors of what was seen in each direction, and is clean when at most 1 % is lost, and a quarter of what was asked.
func (f *Loss) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return lossEffect(ctx, on, float64(f.Share))
}

// leastLoss is so much that a probe without a single loss would be a miracle: (1 - 2 %)^1000 = 2e-9.
const leastLoss = 0.02

const (
	probePackets = 1000
	probeSize    = 64
	probeTime    = 500 * time.Millisecond
)

func lossEffect(ctx context.Context, on target.Component, asked float64) (injectors.Measured, error) {
	toHost, fromHost, err := probe(ctx, on.Handles.Network, probePackets, probeSize, probeTime)
	if err != nil {
		return injectors.Measured{}, err
	}
	n := toHost.sent + fromHost.sent
	lost := n - toHost.received - fromHost.received
	m := injectors.Measured{N: n, Asked: map[string]float64{"loss_ratio": asked},
		Is: map[string]float64{"loss_ratio": float64(lost) / float64(max(n, 1)), "to_host_loss_ratio": toHost.loss(),
			"from_host_loss_ratio": fromHost.loss()}, Bites: n > 0, Clean: n > 0}
	for _, d := range []struct {
		name string
		flow
	}{{"to the host", toHost}, {"from the host", fromHost}} {
		bound := 4 * math.Sqrt(asked*(1-asked)/float64(max(d.sent, 1)))
		if math.Abs(d.loss()-asked) > bound+0.002 || d.loss() == 0 {
			m.Bites = false
			m.Reason = fmt.Sprintf("%.1f%% of %d packets %s were lost, asked were %.1f%%", d.loss()*100, d.sent, d.name, asked*100)
		}
		if d.loss() > min(0.01, asked/4) {
			m.Clean = false
		}
	}
	if !m.Clean && m.Reason == "" {
		m.Reason = fmt.Sprintf("%.1f%% of %d packets are lost", m.Is["loss_ratio"]*100, n)
	}
	return m, nil
}
