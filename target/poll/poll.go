// Package poll lets one thread wait for many connections, and write to them without waiting (epoll(7)): no goroutine sleeps or is woken for a
// message, and a connection on which nothing happens keeps no stack.
package poll

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Poller is what one thread waits with. Only Do may be called by others.
type Poller struct {
	// Budget bounds what waits for slow readers on all connections together, in bytes; 0: nothing does. It is set before the first connection.
	Budget int64

	waiting atomic.Int64
	epoll   int
	timer   int       // timerfd(2): when the thread has something to do of its own
	armed   time.Time // until when the timer runs
	wake    int       // eventfd(2): somebody else has something for it to do
	conns   map[int32]*Conn
	buf     []byte
	ready   [64]unix.EpollEvent // few, so that a turn is short

	mu     sync.Mutex
	todo   []func()
	closed bool
}

// New gives a poller without connections.
func New() (*Poller, error) {
	p := &Poller{timer: -1, wake: -1, conns: map[int32]*Conn{}, buf: make([]byte, 64<<10)}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	}
	if err == nil {
		p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	for _, fd := range []int{p.timer, p.wake} {
		if err == nil {
			err = p.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
		}
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("epoll", err), p.Close())
	}
	return p, nil
}

func (p *Poller) watch(how, fd int, events uint32) error {
	return unix.EpollCtl(p.epoll, how, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// Do lets the thread call f, in its next turn or when the poller is being closed, and tells whether it will. Any goroutine may ask for it.
func (p *Poller) Do(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.todo = append(p.todo, f); len(p.todo) == 1 {
		_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // a full counter wakes it as well
	}
	return true
}

// Heed has the thread woken when ctx ends, until stop is called.
func (p *Poller) Heed(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { p.Do(func() {}) })
}

// Turn waits until a connection has something to read or takes again what it left, somebody asks for something, or a time has come, and
// does what there is to do.
func (p *Poller) Turn(until time.Time) error {
	if err := p.arm(until); err != nil {
		return err
	}
	n, err := unix.EpollWait(p.epoll, p.ready[:], -1)
	for _, e := range p.ready[:max(n, 0)] {
		if c := p.conns[e.Fd]; c != nil {
			c.turn(e.Events)
			continue
		}
		switch int(e.Fd) {
		case p.timer:
			p.armed = time.Time{}
			fallthrough
		case p.wake:
			_, _ = unix.Read(int(e.Fd), p.buf[:8]) // how often is no matter
		}
	}
	p.asked(false)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("epoll_wait", err)
	}
	return nil
}

// arm lets the timer run until then, unless it runs out before that anyway.
func (p *Poller) arm(until time.Time) error {
	now := time.Now()
	if p.armed.After(now) && !p.armed.After(until) {
		return nil
	}
	p.armed = until
	left := max(until.Sub(now), 1) // 0 would stop it
	return os.NewSyscallError("timerfd_settime", unix.TimerfdSettime(p.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}, nil))
}

// asked does what others asked for, and tells whether it was anything. last: if it was not, nothing more is taken.
func (p *Poller) asked(last bool) bool {
	p.mu.Lock()
	todo := p.todo
	p.todo, p.closed = nil, last && len(todo) == 0
	p.mu.Unlock()
	for _, f := range todo {
		f()
	}
	return len(todo) > 0
}

// Close does what was still asked for, and ends every connection; their readers are not told.
func (p *Poller) Close() (err error) {
	for p.asked(true) {
	}
	for _, c := range p.conns {
		c.Close()
	}
	for _, fd := range []int{p.epoll, p.timer, p.wake} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

// Reader is whoever a connection belongs to.
type Reader interface {
	// Read takes in what has come; data is not kept. With an error, such as io.EOF, the connection has ended and is closed.
	Read(data []byte, err error)
}

// turn does what a connection is ready for.
func (c *Conn) turn(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		if err := c.flush(); err != nil {
			c.Close()
			c.reader.Read(nil, err)
			return
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return
	}
	n, err := unix.Read(c.fd, c.poller.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err == nil && n == 0:
		err = io.EOF
	}
	if err != nil {
		c.Close()
	}
	c.reader.Read(c.poller.buf[:max(n, 0)], err)
}
