package network

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/unit"
)

// Rate makes a link narrow, in both directions or one, with a token bucket (tc-tbf).
type Rate struct {
	To        unit.Bitrate `json:"rate" unit:"bits per second" help:"what passes in each direction"`
	Direction Direction    `json:"direction" help:"both, to (the component) or from"`
}

// Validate finds settings that cannot work.
func (f *Rate) Validate() error {
	if f.To < 100e3 || f.To > 50e6 {
		return fmt.Errorf("rate: %s is not between 100k and 50M, which a probe can prove", f.To)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Rate) BackEnd() string { return "tbf" }

// Check is part of injectors.Fault.
func (f *Rate) Check(_ context.Context, on target.Component) error {
	if on.Handles.Network == nil {
		return errNoLink
	}
	for _, e := range f.Direction.egress(on.Handles.Network) {
		kind, err := e.qdisc()
		if err != nil {
			return err
		}
		if kind != "noqueue" {
			return fmt.Errorf("%s has a queue of kind %s already", e.device, kind)
		}
	}
	return nil
}

// Save is part of injectors.Fault.
func (f *Rate) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	was := map[string]string{}
	for _, e := range f.Direction.egress(on.Handles.Network) {
		kind, err := e.qdisc()
		if err != nil {
			return nil, err
		}
		was[e.device] = kind
	}
	return injectors.Keep(was)
}

// Inject is part of injectors.Fault.
func (f *Rate) Inject(_ context.Context, on target.Component) error {
	return limit(on.Handles.Network, f.Direction, f.To)
}

// limit puts a token bucket where packets of a direction go out, in the place of one that is there.
func limit(on *target.Network, way Direction, to unit.Bitrate) error {
	for _, e := range way.egress(on) {
		err := e.inside(func(link netlink.Link) error {
			bytes := uint64(float64(to) / 8)
			burst := max(bytes/100, 3000) // 10 ms, and never less than two packets
			queue := max(bytes/5, 15_000) // 200 ms of queue, as a home router has
			return netlink.QdiscReplace(&netlink.Tbf{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index,
				Handle: netlink.MakeHandle(0x1d, 0), Parent: netlink.HANDLE_ROOT}, Rate: bytes,
				Buffer: netlink.Xmittime(bytes, uint32(burst)), Limit: uint32(min(queue, math.MaxUint32))})
		})
		if err != nil {
			return errors.Join(fmt.Errorf("tbf at %s: %w", e.device, err), unlimit(on))
		}
	}
	return nil
}

// Effect offers three times the rate for a second and measures what passes.
func (f *Rate) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	m, worst, err := rateEffect(ctx, on, f.Direction, float64(f.To), time.Second)
	if err == nil {
		m.Is["bits_per_second_low"], m.Is["bits_per_second_high"] = worst.rateBounds()
	}
	return m, err
}

// rateEffect holds what passes a link in each direction that is asked for against what should, within 30 %, and gives the one that is
// farther from it; the other direction must be wider.
func rateEffect(ctx context.Context, on target.Component, way Direction, asked float64, over time.Duration) (m injectors.Measured, worst flow, err error) {
	const size = 1400
	offered := math.Min(3*asked, 200e6)
	packets := max(20, int(offered*over.Seconds()/8/size))
	toHost, fromHost, err := probe(ctx, on.Handles.Network, packets, size, over)
	if err != nil {
		return m, worst, err
	}
	flows := way.of(toHost, fromHost)
	worst = flows[0] // of two directions, that which is farther from what was asked for
	for _, other := range flows[1:] {
		if math.Abs(other.rate()-asked) > math.Abs(worst.rate()-asked) {
			worst = other
		}
	}
	rate := worst.rate()
	m = injectors.Measured{N: total(flows, flow.arrived), Asked: map[string]float64{"bits_per_second": asked},
		Is: map[string]float64{"bits_per_second": rate, "offered_bits_per_second": offered}}
	m.Bites = rate > 0.7*asked && rate < 1.3*asked
	m.Clean = !slices.ContainsFunc(flows, func(f flow) bool { return f.narrowed(asked) })
	if !m.Bites {
		m.Reason = fmt.Sprintf("%s passes, asked were %s", unit.Bitrate(rate), unit.Bitrate(asked))
	}
	if other := map[Direction]flow{To: fromHost, From: toHost}[way]; way != Both && other.narrowed(asked) {
		m.Bites, m.Reason = false, fmt.Sprintf("the other direction is narrow too: %s passes", unit.Bitrate(other.rate()))
	}
	return m, worst, nil
}

// narrowed tells whether no more passes than was asked for. What is lost else is another's doing.
func (f flow) narrowed(asked float64) bool { return f.loss() >= 0.01 && f.rate() <= 1.3*asked }

// Restore is part of injectors.Fault. The queues are those that were there.
func (*Rate) Restore(_ context.Context, on target.Component, was injectors.Original) error {
	before := map[string]string{}
	if err := errors.Join(unlimit(on.Handles.Network), was.Read(&before)); err != nil {
		return err
	}
	for _, e := range ends(on.Handles.Network) {
		kind, err := e.qdisc()
		if errors.Is(err, os.ErrNotExist) {
			continue // the range is gone
		}
		if had, ok := before[e.device]; err == nil && ok && kind != had {
			err = fmt.Errorf("%s has a queue of kind %s, had %s", e.device, kind, had)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func unlimit(on *target.Network) error {
	var errs []error
	for _, e := range ends(on) {
		err := e.inside(func(link netlink.Link) error {
			list, err := netlink.QdiscList(link)
			if err != nil {
				return err
			}
			for _, q := range list {
				if q.Type() == "tbf" && q.Attrs().Handle == netlink.MakeHandle(0x1d, 0) {
					return netlink.QdiscDel(q)
				}
			}
			return nil
		})
		if !errors.Is(err, os.ErrNotExist) { // else the range is gone, and the queue with it
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// inside runs do on the end's link, in its namespace.
func (e end) inside(do func(netlink.Link) error) error {
	return hosts.InNamespace(e.namespace, func() error {
		link, err := netlink.LinkByName(e.device)
		if err != nil {
			return err
		}
		return do(link)
	})
}

// qdisc is the kind of the end's queue.
func (e end) qdisc() (kind string, err error) {
	err = e.inside(func(link netlink.Link) error {
		list, err := netlink.QdiscList(link)
		if err != nil {
			return err
		}
		kind = "noqueue"
		for _, q := range list {
			if q.Attrs().Parent == netlink.HANDLE_ROOT {
				kind = q.Type()
			}
		}
		return nil
	})
	return kind, err
}
