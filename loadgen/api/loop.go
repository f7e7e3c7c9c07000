package api

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
)

// loop makes the load with one thread that keeps the pace, writes requests and reads answers as the kernel says that they are there (epoll(7)):
// no goroutine sleeps or is woken for a request. It is the pool without TLS.
type loop struct {
	*run
	connect func(addr string) (fd int, err error)
	walk    *loadgen.Walk
	epoll   int
	timer   int       // timerfd(2): the next arrival
	armed   time.Time // until when the timer runs
	wake    int       // eventfd(2): a dial is over
	all     []*client
	idle    []*client
	due     []planned // and not yet taken, the oldest first, from head on
	head    int
	answers int // since the last waking
	sockets map[int32]*socket
	buf     []byte
	dials   sync.WaitGroup
	dialled chan dialled
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
	l := &loop{run: r, walk: r.m.Walk(r.Rate), sockets: map[int32]*socket{}, buf: make([]byte, 64<<10), dialled: make(chan dialled, most*r.Connections)}
	l.connect = func(addr string) (int, error) {
		fd, err := dial(ctx, addr)
		if err != nil {
			target.Wait(ctx, 10*time.Millisecond) // a server that refuses at once is not asked a million times
		}
		return fd, err
	}
	if err := l.open(); err != nil {
		return err
	}
	for range r.Connections {
		l.newClient()
	}
	loadgen.Promptly(func() { err = l.turn(ctx) })
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
func (l *loop) turn(ctx context.Context) error {
	events := make([]unix.EpollEvent, 256)
	var end time.Time // of waiting for the last answers
	for overdue := time.Now(); ctx.Err() == nil; {
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
		l.answers = 0
		for _, e := range events[:max(n, 0)] {
			switch s := l.sockets[e.Fd]; {
			case s != nil:
				l.ready(s, e.Events)
			case int(e.Fd) == l.timer || int(e.Fd) == l.wake:
				_, _ = unix.Read(int(e.Fd), l.buf[:8]) // how often is no matter
			}
		}
		l.meet()
		// More clients come where all of them wait for a slow server, so that it is the server that is slow, and not the load.
		if l.answers == 0 && l.head < len(l.due) && len(l.idle) == 0 && len(l.all) < most*l.Connections {
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

// giveUp ends what has had its time.
func (l *loop) giveUp(now time.Time) {
	for _, c := range l.all {
		if s := c.sockets[c.base]; c.busy && s != nil && now.Sub(c.sent) > timeout {
			l.drop(s)
			l.over(c, 0, os.ErrDeadlineExceeded, nil)
		}
	}
}
