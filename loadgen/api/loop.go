package api

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/poll"
)

// loop makes the load with one thread that keeps the pace, writes requests and reads answers. It is the pool without TLS.
type loop struct {
	*run
	connect func(addr string) (fd int, err error)
	walk    *loadgen.Walk
	poll    *poll.Poller
	all     []*client
	idle    []*client
	due     []planned // and not yet taken, the oldest first, from head on
	head    int
	answers int // since the last waking
	dials   sync.WaitGroup
	ended   bool
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

func (r *run) loop(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	poller, err := poll.New()
	if err != nil {
		return err
	}
	l := &loop{run: r, walk: r.m.Walk(r.Rate), poll: poller}
	l.connect = func(addr string) (int, error) {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		fd, err := poll.Dial(limited, addr)
		if err != nil {
			target.Wait(ctx, 10*time.Millisecond) // a server that refuses at once is not asked a million times
		}
		return fd, err
	}
	for range r.Connections {
		l.newClient()
	}
	loadgen.Promptly(func() { err = l.turn(ctx) })
	l.ended = true
	cancel()
	l.dials.Wait()
	return errors.Join(err, poller.Close())
}

func (l *loop) newClient() {
	c := &client{loop: l, sockets: map[string]*socket{}}
	l.all, l.idle = append(l.all, c), append(l.idle, c)
}

// look is from one look at clients that had their time, and at ctx, to the next.
const look = timeout / 50

// turn goes round until the plan is over and every request has its answer, or the last ones have had their time.
func (l *loop) turn(ctx context.Context) error {
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
		l.answers = 0
		if err := l.poll.Turn(loadgen.Waking(now, next, now.Add(look))); err != nil {
			return err
		}
		// More clients come where all of them wait for a slow server, so that it is the server that is slow, and not the load.
		if l.answers == 0 && l.head < len(l.due) && len(l.idle) == 0 && len(l.all) < most*l.Connections {
			l.newClient()
		}
	}
	return nil
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
	return now, true // it is behind, and says so
}

// serve lets idle clients take what has been due longest.
func (l *loop) serve() {
	for len(l.idle) > 0 && l.head < len(l.due) {
		c := l.idle[len(l.idle)-1]
		l.idle = l.idle[:len(l.idle)-1]
		c.take(l.due[l.head])
		if l.head++; l.head == len(l.due) {
			l.due, l.head = l.due[:0], 0
		}
	}
}

// giveUp ends what has had its time.
func (l *loop) giveUp(now time.Time) {
	for _, c := range l.all {
		if s := c.sockets[c.base]; c.busy && s != nil && now.Sub(c.sent) > timeout {
			s.drop()
			c.over(0, os.ErrDeadlineExceeded, nil)
		}
	}
}
