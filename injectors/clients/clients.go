// Package clients plays clients that a component would rather not have. They reach nothing but hosts of a range, over their own
// links.
package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/unit"
)

// InRange gives the address of a component's port, if it is a host of a range: its address is the one at the other end of its
// link, and a private one.
func InRange(on target.Component, protocol string) (string, error) {
	n := on.Handles.Network
	if n == nil || n.Addr == "" || n.Addr != on.Addr {
		return "", errors.New("it is no host of a range: nothing goes anywhere else")
	}
	ip := net.ParseIP(n.Addr)
	if ip == nil || !ip.IsPrivate() {
		return "", fmt.Errorf("%s is no private address: nothing goes anywhere else", n.Addr)
	}
	return on.HostPort(protocol)
}

// tally is what an attack has done so far.
type tally struct {
	sent   atomic.Uint64
	got    atomic.Uint64 // attempts that got what they were after
	turned atomic.Uint64 // attempts that were turned away
	failed atomic.Uint64 // attempts without an answer
}

// Answer is what became of one attempt.
type Answer int

const (
	Failed Answer = iota // no answer
	Turned               // turned away
	Got                  // got what it was after
)

func (t *tally) count(a Answer) {
	t.sent.Add(1)
	switch a {
	case Got:
		t.got.Add(1)
	case Turned:
		t.turned.Add(1)
	default:
		t.failed.Add(1)
	}
}

// Repeated is what all faults have in common that try one thing after another at a rate.
type Repeated struct {
	Rate    unit.Rate `json:"rate" unit:"per second" help:"attempts"`
	Clients int       `json:"clients" help:"that try at once at most"`

	tally *tally
}

// Validate finds settings that cannot work.
func (f *Repeated) Validate() error {
	var errs []error
	if f.Rate < 1 || f.Rate > 20_000 {
		errs = append(errs, fmt.Errorf("rate: %s is not between 1/s and 20000/s", f.Rate))
	}
	if f.Clients < 1 || f.Clients > 1000 {
		errs = append(errs, fmt.Errorf("clients: %d is not between 1 and 1000", f.Clients))
	}
	return errors.Join(errs...)
}

// BackEnd is part of injectors.BackEnded.
func (*Repeated) BackEnd() string { return "clients" }

// Save is part of injectors.Fault: an attack changes no setting.
func (*Repeated) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Restore is part of injectors.Fault. When it returns, no client of the attack is left.
func (*Repeated) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(Name(on))
	return nil
}

// Name is the name of what clients do to a component, in the process that has begun it.
func Name(on target.Component) string { return "clients of " + on.Name }

// Free refuses a component that clients could not reach, or that others have in their hands already.
func Free(on target.Component, protocol string) error {
	if _, err := InRange(on, protocol); err != nil {
		return err
	}
	if injectors.Begun(Name(on)) {
		return errors.New("another fault lets clients at it already")
	}
	return nil
}

// Run lets clients try at the rate, until the fault ends; over is called then. try is told the number of the
// attempt.
func (f *Repeated) Run(ctx context.Context, on target.Component, try func(ctx context.Context, n uint64) Answer, over func()) error {
	if err := ctx.Err(); err != nil {
		over()
		return err
	}
	f.tally = &tally{}
	count := f.tally
	err := injectors.Begin(ctx, Name(on), func(ctx context.Context) {
		defer over()
		slots := make(chan struct{}, f.Clients)
		var wg sync.WaitGroup
		defer wg.Wait()
		start := time.Now()
		for n := uint64(0); ; n++ {
			due := start.Add(time.Duration(float64(n) / float64(f.Rate) * float64(time.Second)))
			if wait := time.Until(due); wait > 0 && !target.Wait(ctx, wait) {
				return
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-slots }()
				attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				if a := try(attempt, n); ctx.Err() == nil || a != Failed {
					count.count(a)
				}
			})
		}
	})
	if err != nil {
		over()
	}
	return err
}

// Effect watches the attack for a second: it bites at four fifths of its rate, when attempts are answered or the component's kernel has
// connections of theirs: a flood that reaches nobody is none. What gets through is the platform's answer, not the
// attack's, and stands beside it. It is clean when nobody tries any more and the component's kernel has no connection of theirs.
func (f *Repeated) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	const looks, quiet = 10, 3 // less is enough to see that nothing happens, where something would happen at each look
	m := injectors.Measured{N: 1, Asked: map[string]float64{"attempts_per_second": float64(f.Rate)}, Is: map[string]float64{}}
	done := f.tally
	if done == nil { // this process has begun none
		done = &tally{}
	}
	start, most := time.Now(), 0
	before, through, turned, lost := done.sent.Load(), done.got.Load(), done.turned.Load(), done.failed.Load()
	for i := range looks {
		n, err := Connections(on)
		if err != nil {
			return m, err
		}
		if most = max(most, n); i == quiet && most == 0 && f.Rate >= looks && done.sent.Load() == before {
			break
		}
		if !target.Wait(ctx, time.Second/looks) {
			return m, ctx.Err()
		}
	}
	seconds, attempts := time.Since(start).Seconds(), done.sent.Load()-before
	rate, got := float64(attempts)/seconds, float64(done.got.Load()-through)
	m.N = max(attempts, 1)
	m.Is = map[string]float64{"attempts_per_second": rate, "got_through": got, "turned_away": float64(done.turned.Load() - turned),
		"without_answer": float64(done.failed.Load() - lost), "connections": float64(most)}
	reached := most > 0 || m.Is["got_through"]+m.Is["turned_away"] > 0
	m.Bites, m.Clean = reached && rate >= 0.8*float64(f.Rate), attempts == 0 && most == 0
	m.Reason = fmt.Sprintf("%.0f attempts a second, of them %.0f got through; it had up to %d connections of theirs", rate, got/seconds, most)
	return m, nil
}

// Stranger dials from the strangers' address at the bridge, and must be used there.
func Stranger(on target.Component) *net.Dialer {
	return &net.Dialer{Timeout: 3 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(on.Handles.Network.Strangers)},
		Control: func(_, _ string, c syscall.RawConn) error { // a port is then taken for its connection only, not for all there are (ip(7))
			var set error
			err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) })
			return errors.Join(err, set)
		}}
}

// Dial opens connections as strangers.
func Dial(on target.Component) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return dialer(on, Stranger(on))
}

// DialFrom opens connections from the bridge of the component's range, as a probe does.
func DialFrom(on target.Component) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return dialer(on, &net.Dialer{Timeout: 3 * time.Second})
}

func dialer(on target.Component, by *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = hosts.InNamespace(on.Handles.Network.Bridge, func() (err error) {
			conn, err = by.DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}
}

// Connections counts the strangers' connections to a host, as its kernel shows them.
func Connections(on target.Component) (n int, err error) {
	return sockets(on, func(s hosts.Socket) bool { return s.State == "01" && s.Remote.String() == on.Handles.Network.Strangers })
}

// HalfOpen counts those that somebody in the bridge's network has begun, and not finished.
func HalfOpen(on target.Component) (n int, err error) {
	near, err := netip.ParseAddr(on.Handles.Network.Peer)
	if err != nil {
		return 0, err
	}
	network, err := near.Prefix(24)
	if err != nil {
		return 0, err
	}
	return sockets(on, func(s hosts.Socket) bool { return s.State == "03" && network.Contains(s.Remote) })
}

// sockets counts those at the component's ports. States are those of proc(5), net/tcp.
func sockets(on target.Component, is func(hosts.Socket) bool) (n int, err error) {
	err = hosts.InNamespace(on.Handles.Network.Namespace, func() error {
		return hosts.Sockets(func(s hosts.Socket) {
			if on.Serves(int(s.Port)) && is(s) {
				n++
			}
		})
	})
	return n, err
}
