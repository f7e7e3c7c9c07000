package api

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/target/poll"
)

// client is one of the pool: it makes one request at a time, over a socket to each server that it has to do with.
type client struct {
	*loop
	planned
	base    string
	sent    time.Time
	busy    bool
	again   bool   // the request has been on a socket that had ended
	raw     []byte // the request on the wire
	answer  answer
	sockets map[string]*socket
}

// socket is a connection of a client's.
type socket struct {
	*client
	conn *poll.Conn
	base string
	used bool // it has carried an answer
}

// take begins a request.
func (c *client) take(p planned) {
	c.planned, c.sent, c.busy, c.again = p, time.Now(), true, false
	if len(c.own) > 0 {
		t := &c.own[c.number%uint64(len(c.own))]
		c.base, c.raw = t.base, t.bytes
	} else {
		raw, err := wire(c.raw[:0], c.target(c.request))
		if err != nil {
			c.over(0, err, nil)
			return
		}
		c.base, c.raw = c.bases[c.arm], raw
	}
	c.send()
}

// send writes the request to the client's socket, or has one opened.
func (c *client) send() {
	s := c.sockets[c.base]
	if s == nil {
		c.dial()
		return
	}
	c.answer = answer{in: c.answer.in[:0], body: c.answer.body[:0]}
	if err := s.conn.Write(c.raw, nil); err != nil {
		s.broken(err)
	}
}

// dial opens a connection beside the loop.
func (c *client) dial() {
	base := c.base
	c.dials.Go(func() {
		fd, err := c.connect(strings.TrimPrefix(base, "http://"))
		c.poll.Do(func() { c.meet(base, fd, err) })
	})
}

// meet takes in the connection that was made.
func (c *client) meet(base string, fd int, err error) {
	s := &socket{client: c, base: base}
	if err == nil {
		s.conn, err = c.poll.Add(fd, math.MaxInt, s) // one request waits at a time, however large
	}
	if c.ended { // cut off: neither an answer nor the lack of one
		return
	}
	if err != nil {
		c.over(0, err, nil)
		return
	}
	c.sockets[base] = s
	c.send()
}

// Read is part of poll.Reader.
func (s *socket) Read(data []byte, err error) {
	c := s.client
	switch {
	case !c.busy || c.base != s.base: // nobody has asked it anything
		s.drop()
		return
	case err != nil && !errors.Is(err, io.EOF), err != nil && len(c.answer.in) == 0:
		s.broken(err)
		return
	}
	c.answer.in = append(c.answer.in, data...)
	body, done, malformed := c.answer.whole(bytes.HasPrefix(c.raw, []byte("HEAD ")), err != nil)
	switch {
	case malformed != nil:
		s.drop()
		c.over(0, malformed, nil)
	case done:
		s.used = true
		if c.answer.last || err != nil || s.conn.Waiting() > 0 { // a server that answers half a request will not read the rest
			s.drop()
		}
		c.over(c.answer.code, nil, body)
	}
}

// broken is a socket that ended before its answer did. A server may close one that nobody used for a while: then the request goes out on a new one.
func (s *socket) broken(err error) {
	c := s.client
	s.drop()
	stale := s.used && len(c.answer.in) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
	if stale && !c.again && (len(c.own) == 0 || bytes.HasPrefix(c.raw, []byte("GET "))) { // the platform's own requests can be made twice: gifts have a key
		c.again = true
		c.send()
		return
	}
	c.over(0, err, nil)
}

func (s *socket) drop() {
	delete(s.sockets, s.base)
	s.conn.Close()
}

// keptLimit is the largest buffer that a client keeps between two answers: a larger one is rare.
const keptLimit = 64 << 10

// over counts what became of a request: the client is idle again.
func (c *client) over(code int, err error, body []byte) {
	c.count(c.request, code, err, body, c.planned.due, c.sent, time.Now())
	c.busy = false
	c.answers++
	if cap(c.answer.in)+cap(c.answer.body) > keptLimit {
		c.answer = answer{}
	}
	c.idle = append(c.idle, c)
}
