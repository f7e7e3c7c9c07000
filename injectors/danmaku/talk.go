package danmaku

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/danmaku"
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

// guest is a member who hears what became of one message.
type guest struct {
	*danmaku.Conn
	heard chan clients.Answer
	left  chan struct{}
}

// listen takes acknowledgements and refusals; what others say is none of them. The end is the answer of a server that throws a member out.
func (g guest) listen() {
	defer close(g.left)
	defer g.Close()
	for {
		lines, err := g.Hear()
		if err != nil {
			g.put(clients.Turned)
			return
		}
		for line := range bytes.Lines(lines) {
			switch {
			case bytes.HasPrefix(line, []byte("ack ")):
				g.put(clients.Got)
			case bytes.HasPrefix(line, []byte("nak ")):
				g.put(clients.Turned)
			}
		}
	}
}

func (g guest) put(what clients.Answer) {
	select {
	case g.heard <- what:
	default: // the first one counts
	}
}

func (g guest) leave() {
	_ = g.Close()
	<-g.left
}

// Inject is part of injectors.Fault. Members stay in the room as long as the server lets them.
func (f *Talk) Inject(ctx context.Context, on target.Component) error {
	say := sayings[f.Sort]
	idle := make(chan guest, f.Clients)
	return f.Run(ctx, on, func(ctx context.Context, n uint64) clients.Answer {
		var g guest
		select {
		case g = <-idle:
		default:
			conn, err := join(ctx, on, f.Room)
			if err != nil {
				return clients.Failed
			}
			g = guest{conn, make(chan clients.Answer, 1), make(chan struct{})}
			go g.listen()
		}
		if err := g.Say(say(n)); err != nil {
			g.leave()
			if errors.Is(err, os.ErrDeadlineExceeded) { // a server that stands still answers nothing
				return clients.Failed
			}
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
			g.leave()
			return clients.Failed
		}
	}, func() {
		for {
			select {
			case g := <-idle:
				g.leave()
			default:
				return
			}
		}
	})
}
