package rtmp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// Request is what a client asks of a server.
type Request struct {
	Publish bool // or play
	App     string
	Stream  string // with its query, if it has one
}

const handshakeSize = 1536

// Accept shakes hands with a client and reads its commands until it wants to publish or play (RTMP 1.0, 5.2 and 7.2).
// The caller then answers with Approve or Refuse. timeout bounds the whole of Accept, and every later read and write.
func Accept(nc net.Conn, timeout time.Duration) (*Conn, Request, error) {
	c := newConn(nc, timeout, mediaBuffer)
	c.until, c.chunks.most = time.Now().Add(timeout), maxCommand
	if err := nc.SetDeadline(c.until); err != nil {
		return nil, Request{}, err
	}
	if err := c.greetClient(); err != nil {
		return nil, Request{}, fmt.Errorf("handshake: %w", err)
	}
	req := Request{}
	for range 32 { // more commands than any client needs before it publishes or plays
		args, stream, err := c.readCommand()
		if err != nil {
			return nil, Request{}, err
		}
		switch args[0] {
		case "connect":
			if req.App, err = c.answerConnect(args); err != nil {
				return nil, Request{}, err
			}
		case "createStream":
			c.command(0, "_result", args[1], nil, float64(1))
			if err := c.flush(); err != nil {
				return nil, Request{}, err
			}
		case "publish", "play":
			if len(args) < 4 {
				return nil, Request{}, fmt.Errorf("%w: %v without a name", ErrMalformed, args[0])
			}
			name, _ := args[3].(string)
			if req.Stream = strings.TrimPrefix(name, "/"); req.Stream == "" {
				return nil, Request{}, fmt.Errorf("%w: %v without a name", ErrMalformed, args[0])
			}
			req.Publish = args[0] == "publish"
			c.stream, c.until, c.chunks.most = stream, time.Time{}, maxMessage
			return c, req, nil
		}
	}
	return nil, Request{}, fmt.Errorf("%w: no publish and no play after 32 commands", ErrMalformed)
}

// Serve accepts clients until ctx ends, and has do serve each of them. timeout bounds every single read and write. It returns when every client
// has gone.
func Serve(ctx context.Context, l net.Listener, timeout time.Duration, do func(context.Context, *Conn, Request) error) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // too many files are open, or the like: those who are here may go on
			slog.Warn("rtmp", "err", err)
			target.Wait(ctx, 100*time.Millisecond)
			continue
		}
		wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { nc.Close() })
			defer stop()
			defer nc.Close()
			conn, req, err := Accept(nc, timeout)
			if err == nil {
				err = do(ctx, conn, req)
			}
			if err != nil && !IsEnd(err) && ctx.Err() == nil {
				slog.Info("rtmp client", "from", nc.RemoteAddr(), "err", err)
			}
		})
	}
}

// PlayHub sends a stream to a player until the stream or ctx ends.
func (c *Conn) PlayHub(ctx context.Context, hub *flv.Hub) error {
	sub := hub.Subscribe()
	defer sub.Close()
	for {
		tags := sub.Next(ctx)
		if tags == nil {
			return c.Unpublished()
		}
		if err := c.WriteTags(tags); err != nil {
			return err
		}
	}
}

// Gone reads what a player says until it leaves, and returns why. It answers nothing: others may be writing. A player may be silent for
// as long as it likes.
func (c *Conn) Gone() error {
	if err := c.net.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	for {
		m, err := c.chunks.next()
		if err != nil {
			return err
		}
		switch {
		case m.kind == setChunkSize && len(m.body) >= 4:
			size := binary.BigEndian.Uint32(m.body)
			if size < 1 || size > maxChunk {
				return fmt.Errorf("%w: chunks of %d bytes", ErrMalformed, size)
			}
			c.chunks.size = int(size)
		case m.kind == commandAMF3 && len(m.body) > 0:
			err = ended(m.body[1:])
		case m.kind == commandAMF0:
			err = ended(m.body)
		}
		if err != nil {
			return err
		}
	}
}

func (c *Conn) greetClient() error {
	in := make([]byte, 1+handshakeSize)
	if _, err := io.ReadFull(c.chunks.in, in); err != nil {
		return err
	}
	if in[0] != 3 {
		return fmt.Errorf("%w: version %d", ErrMalformed, in[0])
	}
	out := make([]byte, 1+2*handshakeSize)
	out[0] = 3
	if _, err := rand.Read(out[9 : 1+handshakeSize]); err != nil {
		return err
	}
	copy(out[1+handshakeSize:], in[1:])
	if _, err := c.net.Write(out); err != nil {
		return err
	}
	_, err := io.ReadFull(c.chunks.in, in[:handshakeSize])
	return err
}

func (c *Conn) answerConnect(args []any) (app string, err error) {
	if len(args) > 2 {
		if o, ok := args[2].(Object); ok {
			app, _ = o["app"].(string)
		}
	}
	c.put(onControl, control(windowSize, ackWindow))
	band := control(peerBandwidth, ackWindow)
	band.body = append(band.body, 2) // dynamic, 5.4.5
	c.put(onControl, band)
	c.growChunks()
	c.command(0, "_result", args[1],
		Object{"fmsVer": "FMS/3,0,1,123", "capabilities": float64(31)},
		Object{"level": "status", "code": "NetConnection.Connect.Success", "description": "Connection succeeded.",
			"objectEncoding": float64(0)})
	return app, c.flush()
}

// Approve tells the client that its stream may begin.
func (c *Conn) Approve(r Request) error {
	if r.Publish {
		c.command(c.stream, "onStatus", float64(0), nil, Object{"level": "status", "code": "NetStream.Publish.Start",
			"description": "Publishing."})
		return c.flush()
	}
	c.put(onControl, message{kind: userControl, body: []byte{0, streamBegin, 0, 0, 0, byte(c.stream)}})
	c.command(c.stream, "onStatus", float64(0), nil, Object{"level": "status", "code": "NetStream.Play.Start",
		"description": "Playing."})
	c.put(onCommand, message{kind: 18, stream: c.stream, body: appendAMF(nil, "|RtmpSampleAccess", true, true)})
	return c.flush()
}

// Refuse tells the client why its stream may not begin.
func (c *Conn) Refuse(r Request, reason string) error {
	code := "NetStream.Play.StreamNotFound"
	if r.Publish {
		code = "NetStream.Publish.BadName"
	}
	c.command(c.stream, "onStatus", float64(0), nil, Object{"level": "error", "code": code, "description": reason})
	return c.flush()
}

// Unpublished tells a player that the stream is over.
func (c *Conn) Unpublished() error {
	c.command(c.stream, "onStatus", float64(0), nil, Object{"level": "status", "code": "NetStream.Play.UnpublishNotify",
		"description": "The publisher has left."})
	return c.flush()
}

// IsEnd tells whether an error of ReadTag is the ordinary end of a stream.
func IsEnd(err error) bool { return errors.Is(err, ErrEnded) || errors.Is(err, io.EOF) }
