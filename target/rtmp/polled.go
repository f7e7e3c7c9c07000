package rtmp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/livedrill/livedrill/target/poll"
)

// Onto gives a publisher's connection to a poller: WriteTags and Unpublish never wait from now on, and all that is done with the connection is
// for the poller's thread. Bytes up to a limit may wait for the server. What the server says is heard and answered; gone is told once why the
// connection ended, unless it was closed here.
func (c *Conn) Onto(p *poll.Poller, limit int, gone func(error)) (*poll.Conn, error) {
	early, _ := c.chunks.in.Peek(c.chunks.in.Buffered()) // what is there can be looked at
	h := &heard{Conn: c, gone: gone, in: bytes.Clone(early)}
	fd, err := poll.Take(c.net)
	if err != nil {
		return nil, err
	}
	if h.out, err = p.Add(fd, limit, h); err != nil {
		return nil, err
	}
	c.net = unwaiting{out: h.out}
	p.Do(func() { h.Read(nil, nil) })
	return h.out, nil
}

// unwaiting is what a Conn writes to on a poller: nothing there takes time.
type unwaiting struct {
	net.Conn
	out *poll.Conn
}

func (u unwaiting) Write(b []byte) (int, error)    { return len(b), u.out.Write(b, nil) }
func (unwaiting) SetWriteDeadline(time.Time) error { return nil }
func (u unwaiting) Close() error                   { u.out.Close(); return nil }

// heard is what a server says to its publisher.
type heard struct {
	*Conn
	out   *poll.Conn
	gone  func(error)
	in    []byte // what has come of a message that is not whole yet
	tried int    // how often that was tried
}

// mostPieces is in how many pieces a message may come: a server that says a byte at a time would keep the thread busy with one message.
const mostPieces = 256

// Read is part of poll.Reader.
func (h *heard) Read(data []byte, err error) {
	h.in = append(h.in, data...)
	for whole := true; err == nil && whole; {
		whole, err = h.next()
	}
	if err != nil {
		h.out.Close()
		h.gone(err)
	}
}

// next hears one message. A server says little to its publisher, so that each is tried from its beginning until all of it has come.
func (h *heard) next() (whole bool, err error) {
	if len(h.in) == 0 {
		return false, nil
	}
	before := *h.chunks
	before.streams = map[uint32]*chunkStream{}
	for id, s := range h.chunks.streams {
		was := *s
		before.streams[id] = &was
	}
	rest := bytes.NewReader(h.in)
	h.chunks.in = bufio.NewReaderSize(rest, 64)
	m, err := h.chunks.next()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		*h.chunks = before
		if h.tried++; len(h.in) > 2*maxCommand || h.tried > mostPieces {
			return false, fmt.Errorf("%w: %d bytes in %d pieces, and no message among them", ErrMalformed, len(h.in), h.tried)
		}
		return false, nil
	}
	h.tried = 0
	if err == nil {
		_, err = h.heed(&m) // what else a server says is no matter to who only sends
	}
	h.in = h.in[len(h.in)-rest.Len()-h.chunks.in.Buffered():]
	return true, err
}
