// Package danmaku breaks bullet chat by its own members: those who do not read, who say too much, who all come at once.
package danmaku

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/lxzan/gws"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/unit"
)

var roomName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func checkRoom(name string) error {
	if !roomName.MatchString(name) {
		return fmt.Errorf("room: %q is not 1 to 64 letters, digits and dashes", name)
	}
	return nil
}

// join opens a connection to a room by hand: the handshake of RFC 6455, 4.1, and nothing more.
func join(ctx context.Context, on target.Component, room string) (net.Conn, error) {
	addr, err := clients.InRange(on, "ws")
	if err != nil {
		return nil, err
	}
	conn, err := clients.DialFrom(on)(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	_, err = fmt.Fprintf(conn, "GET /ws?room=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bGl2ZWRyaWxsbGl2ZWRyaQ==\r\n\r\n", room, addr)
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(bufio.NewReaderSize(conn, 512), nil); err == nil {
			_ = resp.Body.Close() // an upgrade has none
			if resp.StatusCode != http.StatusSwitchingProtocols {
				err = errors.New(resp.Status)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, conn.SetDeadline(time.Time{})
}

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
	var conns []net.Conn
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
		if tcp, ok := conn.(*net.TCPConn); ok {
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
	err = target.WaitUntil(ctx, 8*time.Second, func() bool { n, err := stuck(on); return err != nil || n > 0 })
	if err != nil {
		injectors.End(clients.Name(on))
		return fmt.Errorf("nothing piles up: %w", err)
	}
	return nil
}

// stuck is how many bytes the server's kernel holds for members at the bridge who do not read them.
func stuck(on target.Component) (n uint64, err error) {
	err = hosts.InNamespace(on.Handles.Network.Namespace, func() error {
		return hosts.Sockets(func(s hosts.Socket) {
			if on.Serves(int(s.Port)) && s.Remote.String() == on.Handles.Network.Peer {
				n += s.Sent
			}
		})
	})
	return n, err
}

// Effect reads from the server's kernel what waits for the members, and how many of them are still there: a server that throws slow
// readers out defends itself.
func (f *SlowReaders) Effect(_ context.Context, on target.Component) (injectors.Measured, error) {
	waiting, err := stuck(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	n, err := clients.Connections(on, "01")
	going := injectors.Begun(clients.Name(on))
	return injectors.Measured{N: uint64(f.Members), Asked: map[string]float64{"members": float64(f.Members)},
		Is:    map[string]float64{"connections": float64(n), "waiting_bytes": float64(waiting)},
		Bites: going && waiting > 0 && n > 0, Clean: !going && n == 0, Reason: fmt.Sprintf("%d bytes wait for %d connections", waiting, n)}, err
}

// Restore is part of injectors.Fault.
func (*SlowReaders) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(clients.Name(on))
	return nil
}

// talker is a member who says something again and again.
type talker struct {
	gws.BuiltinEventHandler
	room, text string
}

// run talks until ctx ends, so many times a second; without a connection it tries again.
func (t *talker) run(ctx context.Context, on target.Component, rate int) {
	for target.Wait(ctx, 50*time.Millisecond) {
		conn, err := member(ctx, on, t.room, t)
		if err != nil {
			continue
		}
		var wg sync.WaitGroup
		wg.Go(conn.ReadLoop)
		for id := 1; target.Wait(ctx, time.Second/time.Duration(rate)); id++ {
			if conn.WriteMessage(gws.OpcodeText, fmt.Appendf(nil, "pub %d %d %s", id, time.Now().UnixMicro(), t.text)) != nil {
				break
			}
		}
		_ = conn.NetConn().Close() // that ends the reading
		wg.Wait()
	}
}

// member joins a room from the bridge as a real client does.
func member(ctx context.Context, on target.Component, room string, handler gws.Event) (conn *gws.Conn, err error) {
	addr, err := clients.InRange(on, "ws")
	if err != nil {
		return nil, err
	}
	raw, err := clients.DialFrom(on)(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	conn, _, err = gws.NewClientFromConn(handler, &gws.ClientOption{Addr: "ws://" + addr + "/ws?room=" + room, //nolint:bodyclose // an upgrade has no body
		HandshakeTimeout: 3 * time.Second, ReadMaxPayloadSize: 8 << 20, Recovery: gws.Recovery}, raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// Talk lets members say things that a room cannot bear: too many (a hot room), the same again and again (a storm), or too large.
type Talk struct {
	clients.Repeated
	Sort string `json:"-"` // hot-room (many messages), storm (one message again and again), oversize (messages far too large)
	Room string `json:"room" help:"in which it is said"`
}

// Validate finds settings that cannot work.
func (f *Talk) Validate() error {
	err := errors.Join(f.Repeated.Validate(), checkRoom(f.Room))
	if _, ok := sayings[f.Sort]; !ok {
		err = errors.Join(err, fmt.Errorf("sort: %q is not hot-room, storm or oversize", f.Sort))
	}
	return err
}

// sayings are what is said, by the number of the attempt.
var sayings = map[string]func(n uint64) []byte{
	"hot-room": func(n uint64) []byte { return fmt.Appendf(nil, "pub %d %d hot %d", n, time.Now().UnixMicro(), n) },
	"storm":    func(uint64) []byte { return fmt.Appendf(nil, "pub 1 %d the same", time.Now().UnixMicro()) },
	"oversize": func(n uint64) []byte {
		return fmt.Appendf(nil, "pub %d %d %s", n, time.Now().UnixMicro(), strings.Repeat("x", 64<<10))
	},
}

// Check is part of injectors.Fault.
func (*Talk) Check(_ context.Context, on target.Component) error { return clients.Free(on, "ws") }

// answers is a member who hears what became of one message.
type answers struct {
	gws.BuiltinEventHandler
	heard chan clients.Answer
}

// OnMessage takes acknowledgements and refusals; what others say is none of them.
func (a *answers) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	for line := range strings.Lines(m.Data.String()) {
		switch {
		case strings.HasPrefix(line, "ack "):
			a.put(clients.Got)
		case strings.HasPrefix(line, "nak "):
			a.put(clients.Turned)
		}
	}
}

// OnClose is the answer of a server that throws a member out.
func (a *answers) OnClose(*gws.Conn, error) { a.put(clients.Turned) }

func (a *answers) put(what clients.Answer) {
	select {
	case a.heard <- what:
	default: // the first one counts
	}
}

// Inject is part of injectors.Fault. Members stay in the room as long as the server lets them.
func (f *Talk) Inject(ctx context.Context, on target.Component) error {
	say := sayings[f.Sort]
	type guest struct {
		conn *gws.Conn
		*answers
		left chan struct{}
	}
	idle := make(chan guest, f.Clients)
	return f.Run(ctx, on, func(ctx context.Context, n uint64) clients.Answer {
		var g guest
		select {
		case g = <-idle:
		default:
			g = guest{answers: &answers{heard: make(chan clients.Answer, 1)}, left: make(chan struct{})}
			var err error
			if g.conn, err = member(ctx, on, f.Room, g.answers); err != nil {
				return clients.Failed
			}
			go func() { defer close(g.left); g.conn.ReadLoop() }()
		}
		leave := func() { _ = g.conn.NetConn().Close(); <-g.left }
		if g.conn.WriteMessage(gws.OpcodeText, say(n)) != nil {
			leave()
			return clients.Turned // it was thrown out before it could speak
		}
		select {
		case a := <-g.heard:
			select {
			case <-g.left:
				return a
			default:
			}
			idle <- g
			return a
		case <-ctx.Done():
			leave()
			return clients.Failed
		}
	}, func() {
		for {
			select {
			case g := <-idle:
				_ = g.conn.NetConn().Close()
				<-g.left
			default:
				return
			}
		}
	})
}

// Stampede lets members come and go all at once, as after a server was lost: connections, not messages, are the load.
type Stampede struct {
	clients.Repeated
	Room string `json:"room" help:"that they join"`
}

// Validate finds settings that cannot work.
func (f *Stampede) Validate() error { return errors.Join(f.Repeated.Validate(), checkRoom(f.Room)) }

// Check is part of injectors.Fault.
func (*Stampede) Check(_ context.Context, on target.Component) error { return clients.Free(on, "ws") }

// Inject is part of injectors.Fault.
func (f *Stampede) Inject(ctx context.Context, on target.Component) error {
	return f.Run(ctx, on, func(ctx context.Context, _ uint64) clients.Answer {
		conn, err := join(ctx, on, f.Room)
		if err != nil {
			return clients.Failed
		}
		_ = conn.Close() // and the next one comes
		return clients.Got
	}, func() {})
}

func many(rate unit.Rate) clients.Repeated { return clients.Repeated{Rate: rate, Clients: 20} }

// Kinds lists the faults of bullet chat.
var Kinds = []injectors.Kind{
	{Name: "danmaku.slow-readers", Summary: "members who do not read fill the server's queues", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &SlowReaders{Members: 50, Room: "room-0"} }},
	{Name: "danmaku.hot-room", Summary: "one room gets far more messages than all others", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Talk{Repeated: many(200), Sort: "hot-room", Room: "room-0"} }},
	{Name: "danmaku.storm", Summary: "the same message again and again", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Talk{Repeated: many(100), Sort: "storm", Room: "room-0"} }},
	{Name: "danmaku.oversize", Summary: "messages far too large", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Talk{Repeated: many(20), Sort: "oversize", Room: "room-0"} }},
	{Name: "danmaku.stampede", Summary: "members come and go all at once", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Stampede{Repeated: many(100), Room: "room-0"} }},
}
