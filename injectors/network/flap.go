package network

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Flap takes a host's link down and up again, over and over, as a bad cable or a port at fault does. A link without a carrier has none
// in either direction.
type Flap struct {
	Every unit.Duration `json:"every" help:"from one loss of the link to the next"`
	Down  unit.Ratio    `json:"down" help:"share of that time for which the link is down"`
}

// Validate finds settings that cannot work.
func (f *Flap) Validate() error {
	var errs []error
	if d := time.Duration(f.Every); d < 100*time.Millisecond || d > 4*time.Second {
		errs = append(errs, fmt.Errorf("every: %s is not between 100ms and 4s, which a proof can wait for", f.Every))
	}
	if f.Down < 0.1 || f.Down > 0.9 {
		errs = append(errs, fmt.Errorf("down: %s is not between 10%% and 90%%", f.Down))
	}
	return errors.Join(errs...)
}

// BackEnd is part of injectors.BackEnded.
func (*Flap) BackEnd() string { return "link" }

// port is the bridge's end of the host's link.
func port(on target.Component) end { return ends(on.Handles.Network)[0] }

// up tells whether the bridge's end is meant to be up.
func (e end) up() (up bool, err error) {
	err = e.inside(func(l netlink.Link) error { up = l.Attrs().RawFlags&1 != 0; return nil }) // IFF_UP
	return up, err
}

// Check is part of injectors.Fault.
func (*Flap) Check(_ context.Context, on target.Component) error {
	if on.Handles.Network == nil {
		return errNoLink
	}
	up, err := port(on).up()
	if err == nil && !up {
		err = errors.New("its link is down already")
	}
	return err
}

// Save is part of injectors.Fault: a link that passed Check is up.
func (*Flap) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	up, err := port(on).up()
	if err != nil {
		return nil, err
	}
	return injectors.Keep(map[string]bool{"up": up})
}

func (*Flap) name(on target.Component) string { return "flap " + on.Handles.Network.Namespace }

// Inject is part of injectors.Fault. The link is down when it returns.
func (f *Flap) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := port(on).inside(netlink.LinkSetDown); err != nil {
		return err
	}
	err := injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
		down := time.Duration(float64(f.Every) * float64(f.Down))
		for next := time.Now(); ; {
			if next = next.Add(down); !target.Wait(ctx, time.Until(next)) {
				return
			}
			_ = port(on).inside(netlink.LinkSetUp) // the probe tells whether it worked
			if next = next.Add(time.Duration(f.Every) - down); !target.Wait(ctx, time.Until(next)) {
				return
			}
			_ = port(on).inside(netlink.LinkSetDown)
		}
	})
	if err != nil {
		return errors.Join(err, port(on).inside(netlink.LinkSetUp))
	}
	return nil
}

// Effect looks at the other end of the link, where the host is, for two whole turns: for which share of the time it has no
// carrier, and how often that changes. What packets suffer is worse: addresses are asked for again after each loss.
func (f *Flap) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	far := ends(on.Handles.Network)[1]
	over := 2 * time.Duration(f.Every)
	if !injectors.Begun(f.name(on)) {
		over = probeTime
	}
	var down, n, changes float64
	last := false
	// One visit for all readings: each costs a thread.
	err := far.inside(func(l netlink.Link) error {
		for end := time.Now().Add(over); time.Now().Before(end) && target.Wait(ctx, 5*time.Millisecond); {
			now, err := netlink.LinkByIndex(l.Attrs().Index)
			if err != nil {
				return err
			}
			gone := now.Attrs().OperState != netlink.OperUp
			if n++; gone {
				down++
			}
			if n > 1 && gone != last {
				changes++
			}
			last = gone
		}
		return nil
	})
	if err != nil {
		return injectors.Measured{}, err
	}
	if n == 0 {
		return injectors.Measured{}, ctx.Err()
	}
	share := down / n
	return injectors.Measured{N: uint64(n), Asked: map[string]float64{"down_ratio": float64(f.Down)},
		Is:    map[string]float64{"down_ratio": share, "changes": changes},
		Bites: math.Abs(share-float64(f.Down)) < 0.1 && changes >= 2, Clean: down == 0,
		Reason: fmt.Sprintf("the link was down in %.0f%% of %.0f readings, asked were %s", share*100, n, f.Down)}, nil
}

// Restore is part of injectors.Fault.
func (f *Flap) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	err := port(on).inside(netlink.LinkSetUp)
	up := false
	if err == nil {
		up, err = port(on).up()
	}
	if errors.Is(err, os.ErrNotExist) { // the range is gone, and the link with it
		return nil
	}
	if err == nil && !up {
		err = errors.New("its link is still down")
	}
	return err
}
