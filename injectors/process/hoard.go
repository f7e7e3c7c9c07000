package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// Hoard opens connections to a component, from one address, and holds them without a word. Those that the component closes are opened
// anew.
type Hoard struct {
	Connections int    `json:"connections" help:"how many are held"`
	Port        string `json:"port" help:"protocol of the port, as livedrill list components shows; empty: the first"`
}

// Validate finds settings that cannot work.
func (f *Hoard) Validate() error {
	if f.Connections < 10 || f.Connections > 20_000 {
		return fmt.Errorf("connections: %d is not between 10 and 20000", f.Connections)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Hoard) BackEnd() string { return "connections" }

func hoardName(on target.Component) string { return "hoard " + on.Handles.Network.Namespace }

// Check is part of injectors.Fault.
func (f *Hoard) Check(_ context.Context, on target.Component) error {
	if on.Handles.Network == nil {
		return errNoHost
	}
	if _, err := address(on, f.Port); err != nil {
		return err
	}
	if injectors.Begun(hoardName(on)) {
		return errors.New("another fault holds connections to it already")
	}
	return nil
}

// Save is part of injectors.Fault: nothing is changed that would have to be put back.
func (*Hoard) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Inject is part of injectors.Fault.
func (f *Hoard) Inject(ctx context.Context, on target.Component) error {
	conns, err := f.open(ctx, on, f.Connections)
	if err != nil && len(conns) < f.Connections/2 {
		closeAll(conns)
		return err
	}
	if err := injectors.Begin(ctx, hoardName(on), func(ctx context.Context) { f.hold(ctx, on, conns) }); err != nil {
		closeAll(conns)
		return err
	}
	return nil
}

// open opens so many connections, or as many as it can.
func (f *Hoard) open(ctx context.Context, on target.Component, n int) (conns []net.Conn, err error) {
	addr, err := address(on, f.Port)
	if err != nil {
		return nil, err
	}
	err = hosts.InNamespace(on.Handles.Network.Bridge, func() error {
		for range n {
			conn, err := clients.Stranger(on).DialContext(ctx, "tcp4", addr)
			if err != nil {
				return err
			}
			conns = append(conns, conn)
		}
		return nil
	})
	return conns, err
}

// hold keeps connections until ctx ends.
func (f *Hoard) hold(ctx context.Context, on target.Component, conns []net.Conn) {
	const renew = 100 * time.Millisecond
	var reading sync.WaitGroup
	defer reading.Wait()
	closed := make(chan struct{}, f.Connections)
	for {
		for _, c := range conns {
			reading.Go(func() {
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				defer stop()
				_, _ = io.Copy(io.Discard, c) // until one side closes it
				_ = c.Close()
				closed <- struct{}{}
			})
		}
		if !target.Wait(ctx, renew) {
			return
		}
		if conns = nil; len(closed) > 0 {
			conns, _ = f.open(ctx, on, len(closed)) // the effect tells
		}
		for range conns {
			<-closed
		}
	}
}

// Effect counts the connections that the component's own kernel has from the strangers' address. It bites with half of what was asked for:
// a component that closes them as fast as they come defends itself, and that shows in the figure.
func (f *Hoard) Effect(_ context.Context, on target.Component) (injectors.Measured, error) {
	n, err := clients.Connections(on)
	return injectors.Measured{N: uint64(f.Connections), Asked: map[string]float64{"connections": float64(f.Connections)},
		Is: map[string]float64{"connections": float64(n)}, Bites: n*2 >= f.Connections, Clean: n == 0,
		Reason: fmt.Sprintf("it has %d connections from strangers", n)}, err
}

// Restore is part of injectors.Fault.
func (*Hoard) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(hoardName(on))
	return nil
}
