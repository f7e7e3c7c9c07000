package danmaku

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/gobwas/ws"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/poll"
)

// Conn is a member's connection.
type Conn struct {
	net.Conn
	early  []byte // what came behind the handshake
	frames Frames
	buf    []byte
}

// MaxHeard is the largest message that a member takes from a server, in bytes: what a room says in one tick.
const MaxHeard = 8 << 20

// Join asks ws://HOST:PORT/ws?room=ROOM&as=NAME to be let in (RFC 6455, 4.1). A server that answers with anything else gives target.ErrRefused.
// dial may be nil.
func Join(ctx context.Context, url string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*Conn, error) {
	conn, in, _, err := ws.Dialer{ReadBufferSize: 512, WriteBufferSize: 512, NetDial: dial}.Dial(ctx, url)
	var status ws.StatusError
	if errors.As(err, &status) {
		err = fmt.Errorf("%w: %w", target.ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: conn, frames: Frames{Limit: MaxHeard}}
	if in != nil {
		c.early = make([]byte, in.Buffered())
		_, err = io.ReadFull(in, c.early)
		ws.PutReader(in)
	}
	return c, err
}

// Take gives the connection to a poller, with what has come on it.
func (c *Conn) Take() (fd int, early []byte, err error) {
	fd, err = poll.Take(c.Conn)
	return fd, c.early, err
}

// Say sends a line.
func (c *Conn) Say(line []byte) error { return c.write(TextFrame, line) }

// Leave says goodbye (RFC 6455, 7.1.2) and ends the connection.
func (c *Conn) Leave() {
	_ = c.write(CloseFrame, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")) // whoever does not hear it sees the end
	c.Close()
}

// sayLimit is how long a server may leave unread what it is told.
const sayLimit = 3 * time.Second

func (c *Conn) write(opcode byte, payload []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(sayLimit)); err != nil {
		return err
	}
	_, err := c.Write(AppendMasked(nil, opcode, payload, rand.Uint32()))
	return err
}

// Hear waits for the next message of the server's, which is good until the next call. It gives io.EOF when the server says goodbye.
func (c *Conn) Hear() (lines []byte, err error) {
	for {
		opcode, payload, ok, err := c.frames.Next()
		switch {
		case err != nil:
			return nil, err
		case ok && opcode == PingFrame:
			err = c.write(PongFrame, payload)
		case ok && opcode == CloseFrame:
			err = errors.Join(c.write(CloseFrame, payload), io.EOF)
		case ok && opcode != PongFrame:
			return payload, nil
		case !ok:
			err = c.more()
		}
		if err != nil {
			return nil, err
		}
	}
}

func (c *Conn) more() error {
	if len(c.early) > 0 {
		c.frames.Feed(c.early)
		c.early = nil
		return nil
	}
	if c.buf == nil {
		c.buf = make([]byte, 4096)
	}
	n, err := c.Read(c.buf)
	if n > 0 {
		c.frames.Feed(c.buf[:n])
		return nil
	}
	return err
}
