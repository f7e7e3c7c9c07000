package danmaku

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lxzan/gws"

	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
)

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
		return fmt.Appendf(nil, "pub %d %d %s", n, time.Now().UnixMicro(), strings.Repeat("x", 16<<10<<(n%4))) // 16 to 128 KiB
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
