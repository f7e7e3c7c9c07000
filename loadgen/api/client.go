package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// client is one of the pool: it makes one request at a time, over a socket to each server that it has to do with.
type client struct {
	planned
	base    string
	sent    time.Time
	busy    bool
	again   bool   // the request has been on a socket that had ended
	raw     []byte // the request on the wire
	rest    []byte // what is not written yet
	answer  answer
	sockets map[string]*socket
}

// socket is a connection of a client's.
type socket struct {
	*client
	fd   int
	base string
	used bool // it has carried an answer
}

type dialled struct {
	*client
	fd  int
	err error
}

// write makes the request as it goes over the wire.
func (l *loop) write(c *client) (base string, err error) {
	if len(l.own) > 0 {
		t := &l.own[c.number%uint64(len(l.own))]
		c.raw = t.bytes
		return t.base, nil
	}
	c.raw, err = wire(c.raw[:0], l.target(c.request))
	return l.bases[c.arm], err
}

// send writes the request to the client's socket, or has one opened.
func (l *loop) send(c *client) {
	s := c.sockets[c.base]
	if s == nil {
		l.dial(c)
		return
	}
	c.answer = answer{in: c.answer.in[:0], body: c.answer.body[:0]}
	c.rest = c.raw
	l.push(s)
}

// push writes what the socket takes.
func (l *loop) push(s *socket) {
	for len(s.rest) > 0 {
		n, err := unix.Write(s.fd, s.rest)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if err := l.watch(s.fd, unix.EPOLLIN|unix.EPOLLOUT, unix.EPOLL_CTL_MOD); err != nil {
				l.broken(s, err)
			}
			return
		case err != nil:
			l.broken(s, err)
			return
		default:
			s.rest = s.rest[n:]
		}
	}
}

// ready does what a socket is ready for.
func (l *loop) ready(s *socket, events uint32) {
	if events&unix.EPOLLOUT != 0 && len(s.rest) > 0 {
		if l.push(s); len(s.rest) == 0 && l.sockets[int32(s.fd)] == s {
			if err := l.watch(s.fd, unix.EPOLLIN, unix.EPOLL_CTL_MOD); err != nil {
				l.broken(s, err)
				return
			}
		}
	}
	if events&^unix.EPOLLOUT == 0 || l.sockets[int32(s.fd)] != s {
		return
	}
	n, err := unix.Read(s.fd, l.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
	case !s.busy || s.client.base != s.base: // nobody has asked it anything
		l.drop(s)
	case err != nil:
		l.broken(s, err)
	default:
		l.read(s, l.buf[:n])
	}
}

// read takes in what has come; nothing is the end of the connection.
func (l *loop) read(s *socket, data []byte) {
	c := s.client
	if len(data) == 0 && len(c.answer.in) == 0 {
		l.broken(s, io.EOF)
		return
	}
	c.answer.in = append(c.answer.in, data...)
	body, done, err := c.answer.whole(bytes.HasPrefix(c.raw, []byte("HEAD ")), len(data) == 0)
	switch {
	case err != nil:
		l.drop(s)
		l.over(c, 0, err, nil)
	case done:
		s.used = true
		if c.answer.last || len(data) == 0 || len(s.rest) > 0 { // a server that answers half a request will not read the rest
			l.drop(s)
		}
		l.over(c, c.answer.code, nil, body)
	}
}

// broken is a socket that ended before its answer did. A server may close one that nobody used for a while: then the request goes out on a new one.
func (l *loop) broken(s *socket, err error) {
	c := s.client
	l.drop(s)
	stale := s.used && len(c.answer.in) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
	if stale && !c.again && (len(l.own) == 0 || bytes.HasPrefix(c.raw, []byte("GET "))) { // the platform's own requests can be made twice: gifts have a key
		c.again = true
		l.send(c)
		return
	}
	l.over(c, 0, err, nil)
}

// over counts what became of a request: its client is idle again.
func (l *loop) over(c *client, code int, err error, body []byte) {
	l.count(c.request, code, err, body, c.due, c.sent, time.Now())
	c.busy, c.rest = false, nil
	l.answers++
	if cap(c.answer.in)+cap(c.answer.body) > len(l.buf) { // a large one is rare, and is not kept for each client
		c.answer = answer{}
	}
	l.idle = append(l.idle, c)
}

func (l *loop) drop(s *socket) {
	delete(l.sockets, int32(s.fd))
	delete(s.sockets, s.base)
	_ = unix.Close(s.fd) // there is nothing left to lose
}

// dial opens a connection beside the loop.
func (l *loop) dial(c *client) {
	addr := strings.TrimPrefix(c.base, "http://")
	l.dials.Go(func() {
		fd, err := l.connect(addr)
		l.dialled <- dialled{c, fd, err}
		l.rouse()
	})
}

// dial gives a socket of the loop's own: Go's poller has no part in it.
func dial(ctx context.Context, addr string) (fd int, err error) {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = raw.Control(func(old uintptr) { fd, dup = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dup); err != nil {
		return -1, fmt.Errorf("connection to %s: %w", addr, err)
	}
	return fd, nil
}

// meet takes in the connections that were made.
func (l *loop) meet() {
	for {
		select {
		case d := <-l.dialled:
			c := d.client
			if d.err == nil {
				d.err = l.watch(d.fd, unix.EPOLLIN, unix.EPOLL_CTL_ADD)
			}
			if d.err != nil {
				if d.fd >= 0 {
					_ = unix.Close(d.fd)
				}
				l.over(c, 0, d.err, nil)
				continue
			}
			s := &socket{client: c, fd: d.fd, base: c.base}
			l.sockets[int32(d.fd)], c.sockets[c.base] = s, s
			l.send(c)
		default:
			return
		}
	}
}
