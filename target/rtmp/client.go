package rtmp

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"time"
)

// Dial connects to a server and opens a stream on app, for Publish or Play. timeout bounds the whole of Dial and every
// later read and write.
func Dial(ctx context.Context, addr, app string, timeout time.Duration) (*Conn, error) {
	return DialBy(ctx, (&net.Dialer{Timeout: timeout}).DialContext, addr, app, timeout)
}

// DialBy does the same over connections that somebody else makes.
func DialBy(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error), addr, app string, timeout time.Duration) (*Conn, error) {
	nc, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	c := newConn(nc, timeout, commandBuffer)
	c.chunks.most = maxCommand // until there are media to come
	if err := c.open(addr, app); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) open(addr, app string) error {
	c.until = time.Now().Add(c.timeout)
	defer func() { c.until = time.Time{} }()
	if err := c.net.SetDeadline(c.until); err != nil {
		return err
	}
	if err := c.greetServer(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	c.growChunks()
	if _, err := c.call("connect", Object{"app": app, "type": "nonprivate", "flashVer": "FMLE/3.0 (compatible; livedrill)",
		"tcUrl": "rtmp://" + addr + "/" + app}); err != nil {
		return err
	}
	result, err := c.call("createStream", nil)
	if err != nil {
		return err
	}
	if len(result) > 3 {
		if id, ok := result[3].(float64); ok {
			c.stream = uint32(id)
		}
	}
	return nil
}

func (c *Conn) greetServer() error {
	out := make([]byte, 1+handshakeSize)
	out[0] = 3
	if _, err := rand.Read(out[9:]); err != nil {
		return err
	}
	if _, err := c.net.Write(out); err != nil {
		return err
	}
	in := make([]byte, 1+2*handshakeSize)
	if _, err := io.ReadFull(c.chunks.in, in); err != nil {
		return err
	}
	if in[0] != 3 {
		return fmt.Errorf("%w: version %d", ErrMalformed, in[0])
	}
	_, err := c.net.Write(in[1 : 1+handshakeSize])
	return err
}

// call sends a command and waits for its result.
func (c *Conn) call(name string, args ...any) ([]any, error) {
	c.number++
	c.command(0, append([]any{name, c.number}, args...)...)
	if err := c.flush(); err != nil {
		return nil, err
	}
	for {
		answer, _, err := c.readCommand()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if answer[1] != c.number {
			continue
		}
		switch answer[0] {
		case "_result":
			return answer, nil
		case "_error":
			return nil, fmt.Errorf("%s: %w: %s", name, ErrRefused, statusCode(answer))
		}
	}
}

// Publish begins a stream; media goes out with WriteTags.
func (c *Conn) Publish(stream string) error {
	return c.begin("NetStream.Publish.Start", "publish", float64(0), nil, stream, "live")
}

// Play begins to receive a stream; media comes in with ReadTag.
func (c *Conn) Play(stream string) error {
	c.chunks.in, c.chunks.most = bufio.NewReaderSize(c.chunks.in, mediaBuffer), maxMessage
	return c.begin("NetStream.Play.Start", "play", float64(0), nil, stream)
}

func (c *Conn) begin(want string, values ...any) error {
	c.until = time.Now().Add(c.timeout)
	defer func() { c.until = time.Time{} }()
	c.command(c.stream, values...)
	if err := c.flush(); err != nil {
		return err
	}
	for {
		answer, _, err := c.readCommand()
		if err != nil {
			return fmt.Errorf("%v: %w", values[0], err)
		}
		if answer[0] != "onStatus" {
			continue
		}
		switch code := statusCode(answer); code {
		case want:
			return nil
		case "NetStream.Play.Reset":
		default:
			return fmt.Errorf("%v: %w: %s", values[0], ErrRefused, code)
		}
	}
}

// Unpublish tells the server that the stream is over.
func (c *Conn) Unpublish() error {
	c.command(0, "deleteStream", float64(0), nil, float64(c.stream))
	return c.flush()
}
