package poll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a connection of a poller's. It is written to without ever waiting for its reader: what the kernel does not take at once waits here,
// in order, up to a limit. Most writes are one system call and allocate nothing.
type Conn struct {
	poller *Poller
	reader Reader
	limit  int // bytes that may wait

	mu      sync.Mutex
	fd      int // -1: closed
	waiting []byte
	failed  error
}

// ErrSlow is returned for a reader who has left more than the limit unread. The connection is of no more use.
var ErrSlow = errors.New("the reader is too slow")

// Take gives the descriptor of a connection to its caller. The connection is closed: Go's own poller has no part in it any more.
func Take(conn net.Conn) (fd int, err error) {
	defer conn.Close()
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return -1, errors.New("the connection is no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = raw.Control(func(old uintptr) { fd, dup = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dup); err != nil {
		return -1, fmt.Errorf("connection to %s: %w", conn.RemoteAddr(), err)
	}
	return fd, nil
}

// Dial connects to an address, for Add.
func Dial(ctx context.Context, addr string) (fd int, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return -1, err
	}
	return Take(conn)
}

// Add takes a descriptor in, and owns it from now on, even if it fails. Bytes up to the limit may wait for a reader on the other side. It is
// for the poller's thread.
func (p *Poller) Add(fd, limit int, reader Reader) (*Conn, error) {
	if err := p.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
		return nil, errors.Join(os.NewSyscallError("epoll_ctl", err), unix.Close(fd))
	}
	c := &Conn{poller: p, reader: reader, limit: limit, fd: fd}
	p.conns[int32(fd)] = c
	return c, nil
}

// Write sends a, then b, which may be nil. They are not kept. Any goroutine may call it; that the connection has ended is seen by its reader
// as well.
func (c *Conn) Write(a, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	if len(c.waiting) == 0 {
		n, err := c.try(a, b)
		if err != nil {
			return c.fail(err)
		}
		k := min(n, len(a))
		a, b = a[k:], b[n-k:]
		if len(a)+len(b) == 0 {
			return nil
		}
		if err := c.poller.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
			return c.fail(err)
		}
	}
	more := len(a) + len(b)
	all := c.poller.waiting.Add(int64(more))
	if len(c.waiting)+more > c.limit || c.poller.Budget > 0 && all > c.poller.Budget {
		c.poller.waiting.Add(-int64(more))
		return c.fail(ErrSlow)
	}
	c.waiting = append(append(c.waiting, a...), b...)
	return nil
}

// fail ends the connection: the thread sees that, closes it and tells its reader.
func (c *Conn) fail(err error) error {
	c.failed = err
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // it may be over already
	return err
}

// try writes what the kernel takes now.
func (c *Conn) try(a, b []byte) (n int, err error) {
	if len(b) == 0 {
		n, err = unix.Write(c.fd, a)
	} else {
		n, err = unix.Writev(c.fd, [][]byte{a, b})
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}

// flush writes what waits, as the kernel takes it.
func (c *Conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	n, err := c.try(c.waiting, nil)
	if err == nil {
		c.poller.waiting.Add(-int64(n))
		if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
			c.waiting = nil
			err = c.poller.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN)
		}
	}
	c.failed = err
	return err
}

// Waiting is how many bytes the other side has not taken yet.
func (c *Conn) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// Close ends the connection; its reader is not told. It is for the poller's thread.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return
	}
	delete(c.poller.conns, int32(c.fd))
	_ = unix.Close(c.fd) // there is nothing left to lose
	c.fd = -1
	c.poller.waiting.Add(-int64(len(c.waiting)))
	if c.waiting = nil; c.failed == nil {
		c.failed = net.ErrClosed
	}
}
