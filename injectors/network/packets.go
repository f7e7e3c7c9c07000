package network

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/unit"
)

// single is what the faults have in common that pick single packets out of those to or from a host.
type single struct {
	queued
	injectors.Drawn
	Share unit.Ratio `json:"share" help:"share of the packets"`
}

// Validate finds settings that cannot work.
func (f *single) Validate() error {
	if f.Share < leastLoss || f.Share > 0.5 {
		return fmt.Errorf("share: %s is not between %s and 50%%, which %d packets can prove", f.Share, unit.Ratio(leastLoss), probePackets)
	}
	return nil
}

// pick makes a stream in which a share of the packets has a fate.
func (f *single) pick(its fate, number uint64) func() fate {
	rng := rand.New(rand.NewPCG(f.Seed, 0x7069636b+number))
	return func() fate {
		if rng.Float64() < float64(f.Share) {
			return its
		}
		return fate{}
	}
}

// some gives a share of the packets of the fault's direction a fate.
func (f *single) some(ctx context.Context, on target.Component, its fate) error {
	return f.enqueue(ctx, on.Handles.Network, func(number uint64) func() fate { return f.pick(its, number) })
}

// proof holds a share that was seen against the one that was asked for: within four standard errors.
func (f *single) proof(name string, hit, n uint64, p probed) injectors.Measured {
	asked, is := float64(f.Share), float64(hit)/float64(max(n, 1))
	m := injectors.Measured{N: n, Asked: map[string]float64{name: asked}, Is: map[string]float64{name: is}}
	m.Bound(name, float64(n))
	m.Bites = n > 0 && p.drops == 0 && math.Abs(is-asked) <= 4*math.Sqrt(asked*(1-asked)/float64(max(n, 1)))+0.002
	m.Clean = n > 0 && is < min(0.01, asked/4)
	m.Reason = fmt.Sprintf("%d of %d packets (%.1f%%), asked were %.1f%%; %s", hit, n, is*100, asked*100, p.note(&m))
	return m
}

// Reorder holds a share of the packets to or from the host, so that others overtake them.
type Reorder struct {
	single
	By unit.Duration `json:"by" help:"how long such a packet is held"`
}

// Validate finds settings that cannot work.
func (f *Reorder) Validate() error {
	if d := time.Duration(f.By); d < 5*time.Millisecond || d > time.Second {
		return fmt.Errorf("by: %s is not between 5ms and 1s", f.By)
	}
	return f.single.Validate()
}

// Inject is part of injectors.Fault.
func (f *Reorder) Inject(ctx context.Context, on target.Component) error {
	return f.some(ctx, on, fate{hold: time.Duration(f.By)})
}

// Effect counts the packets of a probe that arrive behind a later one.
func (f *Reorder) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	seen, err := f.watched(ctx, on.Handles.Network, time.Duration(f.By))
	m := f.proof("overtaken_ratio", total(seen.flows, flow.overtaken), total(seen.flows, flow.arrived), seen)
	m.Bites = m.Bites && seen.drops == 0
	return m, err
}

// Duplicate sends a share of the packets twice.
type Duplicate struct{ single }

// Inject is part of injectors.Fault.
func (f *Duplicate) Inject(ctx context.Context, on target.Component) error {
	return f.some(ctx, on, fate{twice: true})
}

// Effect counts the packets of a probe that arrive twice.
func (f *Duplicate) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	seen, err := f.watched(ctx, on.Handles.Network, 0)
	m := f.proof("duplicate_ratio", total(seen.flows, flow.duplicates), total(seen.flows, flow.offered), seen)
	m.Bites = m.Bites && seen.drops == 0
	return m, err
}

// Corrupt turns one bit in a share of the packets. TCP and UDP find it by their checksum and drop the packet.
type Corrupt struct{ single }

// Inject is part of injectors.Fault.
func (f *Corrupt) Inject(ctx context.Context, on target.Component) error {
	return f.some(ctx, on, fate{hurt: true})
}

// Effect counts the packets of a probe that do not arrive, and holds it against the kernel's own count of wrong checksums.
func (f *Corrupt) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	before, err := wrongSums(on.Handles.Network)
	if err != nil {
		return injectors.Measured{}, err
	}
	seen, err := f.watched(ctx, on.Handles.Network, 0)
	if err != nil {
		return injectors.Measured{}, err
	}
	after, err := wrongSums(on.Handles.Network)
	sent, lost := total(seen.flows, flow.offered), total(seen.flows, flow.missing)
	m := f.proof("corrupt_ratio", lost, sent, seen)
	m.Is["wrong_checksums"] = after - before
	if found := after - before; found < float64(lost) {
		m.Bites = false
		m.Reason += fmt.Sprintf("; the kernel found %.0f wrong checksums", found)
	}
	return m, err
}

// wrongSums is how many packets both ends' kernels have dropped for their checksum (RFC 4113 and 4022, InCsumErrors).
func wrongSums(on *target.Network) (n float64, err error) {
	for _, e := range ends(on) {
		if err := hosts.InNamespace(e.namespace, func() error {
			for _, protocol := range []string{"Udp", "Tcp"} {
				v, err := hosts.Counter("/proc/thread-self/net/snmp", protocol, "InCsumErrors")
				if err != nil {
					return err
				}
				n += v
			}
			return nil
		}); err != nil {
			return 0, err
		}
	}
	return n, nil
}
