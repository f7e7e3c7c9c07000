package danmaku

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/danmaku"
	"github.com/livedrill/livedrill/target/hosts"
)

// SlowReaders are members of a room who do not read: what they are sent piles up in the server.
type SlowReaders struct {
	Members int    `json:"members" help:"who do not read"`
	Room    string `json:"room" help:"that they join"`
}

// Validate finds settings that cannot work.
func (f *SlowReaders) Validate() error {
	err := checkRoom(f.Room)
	if f.Members < 1 || f.Members > 5000 {
		err = errors.Join(err, fmt.Errorf("members: %d is not between 1 and 5000", f.Members))
	}
	return err
}

// BackEnd is part of injectors.BackEnded.
func (*SlowReaders) BackEnd() string { return "clients" }

// Check is part of injectors.Fault.
func (*SlowReaders) Check(_ context.Context, on target.Component) error {
	return clients.Free(on, "ws")
}

// Save is part of injectors.Fault: members leave when their connections do.
func (*SlowReaders) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Inject is part of injectors.Fault. One more member talks, so that there is something to read.
func (f *SlowReaders) Inject(ctx context.Context, on target.Component) error {
	var conns []*danmaku.Conn
	leave := func() {
		for _, c := range conns {
			_ = c.Close() // that is how a member leaves
		}
	}
	for range f.Members {
		conn, err := join(ctx, on, f.Room)
		if err != nil {
			leave()
			return err
		}
		conns = append(conns, conn)
		if tcp, ok := conn.Conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4096) // a larger one only takes more to fill
		}
	}
	talk := &talker{room: f.Room, text: strings.Repeat("x", 900)}
	err := injectors.Begin(ctx, clients.Name(on), func(ctx context.Context) {
		defer leave()
		talk.run(ctx, on, 200)
	})
	if err != nil {
		leave()
		return err
	}
	// The first buffers to fill are the kernel's.
	for end := time.Now().Add(8 * time.Second); ; {
		members, _, err := f.stuck(ctx, on)
		if err == nil && 2*members >= f.Members {
			return nil
		}
		if err == nil && time.Now().After(end) {
			err = errors.New("nothing piles up")
		}
		if err != nil {
			injectors.End(clients.Name(on))
			return err
		}
	}
}

// stuck is for how many of them the server's kernel holds bytes that they do not take, and how many bytes: the least of
// three looks, as what is on its way just now is not stuck.
func (f *SlowReaders) stuck(ctx context.Context, on target.Component) (members int, bytes uint64, err error) {
	const looks = 3
	for look := range looks {
		if look > 0 && !target.Wait(ctx, 100*time.Millisecond) {
			return 0, 0, ctx.Err()
		}
		n, sum := 0, uint64(0)
		err := hosts.InNamespace(on.Handles.Network.Namespace, func() error {
			return hosts.Sockets(func(s hosts.Socket) {
				if s.Sent > 0 && on.Serves(int(s.Port)) && s.Remote.String() == on.Handles.Network.Strangers {
					n, sum = n+1, sum+s.Sent
				}
			})
		})
		if err != nil {
			return 0, 0, err
		}
		if look == 0 || n < members {
			members, bytes = n, sum
		}
	}
	return members, bytes, nil
}

// Passes is part of injectors.Passing: a server that throws slow readers out is well again.
func (*SlowReaders) Passes() {}

// Effect reads from the server's kernel what waits for the members, and how many of them are still there: a server that throws slow
// readers out defends itself. It bites when something waits for half of them.
func (f *SlowReaders) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	members, waiting, err := f.stuck(ctx, on)
	if err != nil {
		return injectors.Measured{}, err
	}
	n, err := clients.Connections(on)
	return injectors.Measured{N: uint64(f.Members), Asked: map[string]float64{"members": float64(f.Members)},
		Is:    map[string]float64{"connections": float64(n), "stuck_members": float64(members), "waiting_bytes": float64(waiting)},
		Bites: 2*members >= f.Members, Clean: n == 0, Reason: fmt.Sprintf("%d bytes wait for %d of %d connections", waiting, members, n)}, err
}

// Restore is part of injectors.Fault.
func (*SlowReaders) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(clients.Name(on))
	return nil
}

// talker is a member who says something again and again.
type talker struct{ room, text string }

// run talks until ctx ends, so many times a second; without a connection it tries again.
func (t *talker) run(ctx context.Context, on target.Component, rate int) {
	for target.Wait(ctx, 50*time.Millisecond) {
		conn, err := join(ctx, on, t.room)
		if err != nil {
			continue
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for err := error(nil); err == nil; {
				_, err = conn.Hear()
			}
		})
		for id := 1; target.Wait(ctx, time.Second/time.Duration(rate)); id++ {
			if conn.Say(fmt.Appendf(nil, "pub %d %d %s", id, time.Now().UnixMicro(), t.text)) != nil {
				break
			}
		}
		_ = conn.Close() // that ends the reading
		wg.Wait()
	}
}
