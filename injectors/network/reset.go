package network

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"syscall"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/unit"
)

// Reset answers TCP packets to a host with a reset, as a firewall or a load balancer does that has lost its table: connections
// break at once, and new ones are refused.
type Reset struct {
	filtering
	injectors.Drawn
	Share unit.Ratio `json:"share" help:"share of the packets to the component that are answered so"`
}

// Validate finds settings that cannot work.
func (f *Reset) Validate() error {
	if f.Share < 0.05 {
		return fmt.Errorf("share: below 5%% it cannot be proven with %d connections", dials)
	}
	return nil
}

// Inject is part of injectors.Fault.
func (f *Reset) Inject(_ context.Context, on target.Component) error {
	return filter(on.Handles.Network, To, rule{onlyTCP, share(float64(f.Share), 1, f.Seed), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}})
}

// dials is how many connections a proof tries.
const dials = 100

// Effect connects to a listener of its own on the host. The first packet of a connection meets the rule by itself, the later
// ones too: a share s of them breaks at least a share s of the connections, and of the four packets of one at most 1 - (1-s)^4.
func (f *Reset) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	broken, other, err := knock(ctx, on.Handles.Network)
	if err != nil {
		return injectors.Measured{}, err
	}
	is := float64(broken) / dials
	m := injectors.Measured{N: dials, Asked: map[string]float64{"reset_ratio": float64(f.Share)}, Is: map[string]float64{"reset_ratio": is},
		Bites: is >= 0.5*float64(f.Share) && is <= 1.2*(1-math.Pow(1-float64(f.Share), 4))+0.1 && broken > 0, Clean: broken == 0 && other == nil,
		Reason: fmt.Sprintf("%d of %d connections were reset", broken, dials)}
	m.Bound("reset_ratio", dials)
	if other != nil {
		m.Reason += ": " + other.Error()
	}
	return m, nil
}

// knock connects from the bridge to a listener on the host, again and again, and counts the resets.
func knock(ctx context.Context, on *target.Network) (reset int, other, err error) {
	var l net.Listener
	if err := hosts.InNamespace(on.Namespace, func() (err error) {
		l, err = net.Listen("tcp4", net.JoinHostPort(on.Addr, "0"))
		return err
	}); err != nil {
		return 0, nil, fmt.Errorf("probe: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close() // the handshake was all
		}
	}()
	defer func() { l.Close(); <-done }()
	for range dials {
		var conn net.Conn
		err := hosts.InNamespace(on.Bridge, func() (err error) {
			conn, err = (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext(ctx, "tcp4", l.Addr().String())
			return err
		})
		switch {
		case err == nil:
			_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNRESET) {
				reset++
			}
			_ = conn.Close()
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET):
			reset++
		default:
			other = err
		}
		if ctx.Err() != nil {
			return reset, other, ctx.Err()
		}
	}
	return reset, other, nil
}
