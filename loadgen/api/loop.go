package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
)

// loop makes the load with one thread that keeps the pace, writes requests and reads answers as the kernel says that they are there (epoll(7)):
// no goroutine sleeps or is woken for a request. It is the pool without TLS.
type loop struct {
	*run
	ctx     context.Context // of the dials, too
	walk    *loadgen.Walk
	epoll   int
	timer   int       // timerfd(2): the next arrival
	armed   time.Time // until when the timer runs
	wake    int       // eventfd(2): a dial is over
	all     []*client
	idle    []*client
	due     []planned // and not yet taken, the oldest first, from head on
	head    int
	sockets map[int32]*socket
	buf     []byte
	dials   sync.WaitGroup
	dialled chan dialled
}

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

// plain tells whether no server is asked over TLS.
func (r *run) plain() bool {
	for _, t := range r.own {
		if !strings.HasPrefix(t.base, "http://") {
			return false
		}
	}
	return len(r.own) > 0 || !r.TLS
}

func (r *run) loop(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &loop{run: r, ctx: ctx, walk: r.m.Walk(r.Rate), sockets: map[int32]*socket{}, buf: make([]byte, 64<<10), dialled: make(chan dialled, most*r.Connections)}
	if err := l.open(); err != nil {
		return err
	}
	for range r.Connections {
		l.newClient()
	}
	loadgen.Promptly(func() { err = l.turn() })
	cancel()
	return errors.Join(err, l.close())
}

func (l *loop) open() (err error) {
	l.epoll, l.timer, l.wake = -1, -1, -1
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	}
	if err == nil {
		l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	for _, fd := range []int{l.timer, l.wake} {
		if err == nil {
			err = l.watch(fd, unix.EPOLLIN, unix.EPOLL_CTL_ADD)
		}
	}
	if err != nil {
		return errors.Join(os.NewSyscallError("epoll", err), l.close())
	}
	return nil
}

func (l *loop) watch(fd int, events uint32, how int) error {
	return unix.EpollCtl(l.epoll, how, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// rouse lets the thread see that a dial is over.
func (l *loop) rouse() { _, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) } // a full counter wakes it as well

// close ends every connection, and waits for those that were about to be made.
func (l *loop) close() (err error) {
	l.dials.Wait()
	close(l.dialled)
	for d := range l.dialled {
		if d.err == nil {
			err = errors.Join(err, unix.Close(d.fd))
		}
	}
	for _, s := range l.sockets {
		err = errors.Join(err, unix.Close(s.fd))
	}
	for _, fd := range []int{l.epoll, l.timer, l.wake} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

func (l *loop) newClient() {
	c := &client{sockets: map[string]*socket{}}
	l.all, l.idle = append(l.all, c), append(l.idle, c)
}

// turn goes round until the plan is over and every request has its answer, or the last ones have had their time.
func (l *loop) turn() error {
	events := make([]unix.EpollEvent, 256)
	var end time.Time // of waiting for the last answers
	for overdue := time.Now(); l.ctx.Err() == nil; {
		now := time.Now()
		next, more := l.arrive(now)
		l.serve()
		if !more {
			if end.IsZero() {
				end = now.Add(timeout)
			}
			if len(l.idle) == len(l.all) && l.head == len(l.due) || !now.Before(end) {
				return nil
			}
			next = end
		}
		if now.Sub(overdue) > look {
			overdue = now
			l.giveUp(now)
		}
		if err := l.wakeAt(now, next); err != nil {
			return err
		}
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
		answers := 0
		for _, e := range events[:max(n, 0)] {
			switch s := l.sockets[e.Fd]; {
			case s != nil:
				answers++
				l.ready(s, e.Events)
			case int(e.Fd) == l.timer || int(e.Fd) == l.wake:
				_, _ = unix.Read(int(e.Fd), l.buf[:8]) // how often is no matter
			}
		}
		l.meet()
		// More clients come where all of them wait for a slow server, so that it is the server that is slow, and not the load.
		if answers == 0 && l.head < len(l.due) && len(l.idle) == 0 && len(l.all) < most*l.Connections {
			l.newClient()
		}
	}
	return nil
}

const (
	tick = time.Millisecond // arrivals that are closer together go out at one waking, if no answer wakes the thread before
	look = timeout / 50     // from one look at clients that had their time, and at ctx, to the next
)

// wakeAt arms the timer, unless it runs out before that anyway.
func (l *loop) wakeAt(now, at time.Time) error {
	if soon := now.Add(tick); at.Before(soon) {
		at = soon
	}
	if late := now.Add(look); at.After(late) {
		at = late
	}
	if l.armed.After(now) && !l.armed.After(at) {
		return nil
	}
	l.armed = at
	return os.NewSyscallError("timerfd_settime", unix.TimerfdSettime(l.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at.Sub(now)))}, nil))
}

// arrive takes in what is due by now, and gives when the next one is; more is false when there is none.
func (l *loop) arrive(now time.Time) (next time.Time, more bool) {
	for len(l.due)-l.head < waiting {
		n, at, ok := l.walk.Next()
		if !ok || at.After(now) {
			return at, ok
		}
		q, mine := l.draw(n)
		if mine {
			if l.head > waiting {
				l.due, l.head = append(l.due[:0], l.due[l.head:]...), 0
			}
			l.due = append(l.due, planned{request: q, due: at})
		}
		l.walk.Gone(mine)
	}
	return now.Add(time.Millisecond), true // it is behind, and says so
}

// serve lets idle clients take what has been due longest.
func (l *loop) serve() {
	for len(l.idle) > 0 && l.head < len(l.due) {
		c := l.idle[len(l.idle)-1]
		l.idle = l.idle[:len(l.idle)-1]
		c.planned, c.sent, c.busy, c.again = l.due[l.head], time.Now(), true, false
		l.head++
		if l.head == len(l.due) {
			l.due, l.head = l.due[:0], 0
		}
		base, err := l.write(c)
		if err != nil {
			l.over(c, 0, err, nil)
			continue
		}
		c.base = base
		l.send(c)
	}
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
	c.answer = answer{in: c.answer.in[:0]}
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
	l.idle = append(l.idle, c)
}

// giveUp ends what has had its time.
func (l *loop) giveUp(now time.Time) {
	for _, c := range l.all {
		if s := c.sockets[c.base]; c.busy && s != nil && now.Sub(c.sent) > timeout {
			l.drop(s)
			l.over(c, 0, os.ErrDeadlineExceeded, nil)
		}
	}
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
		fd, err := dial(l.ctx, addr)
		if err != nil {
			target.Wait(l.ctx, 10*time.Millisecond) // a server that refuses at once is not asked a million times
		}
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
