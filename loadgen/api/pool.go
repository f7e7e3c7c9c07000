package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/livedrill/livedrill/target"
)

// waiting is how many requests may be due and not yet taken by a connection. When there are more the pace itself waits, and the load
// says that it is behind.
const waiting = 1 << 17

// bodyLimit bounds what is read of an answer.
const bodyLimit = 16 << 20

// most is how many times as many connections as asked for may be opened when all of them wait for answers.
const most = 16

// pool makes the load with connections that are kept. Each takes the request that has been due longest; more are opened while all are
// waiting for a slow server, so that it is the server that is slow, and not the load.
func (r *run) pool(ctx context.Context) error {
	due := make(chan planned, waiting)
	working, end := context.WithCancel(ctx)
	defer end()
	var wg sync.WaitGroup
	var busy atomic.Int64
	open := func() {
		c := &connection{run: r, busy: &busy, lines: map[string]*line{}}
		wg.Go(func() { c.work(working, due) })
	}
	for range r.Connections {
		open()
	}
	n := r.Connections
	r.m.Pace(ctx, r.Rate, func(number uint64, at time.Time) bool {
		q, mine := r.draw(number)
		if !mine {
			return false
		}
		if n < most*r.Connections && busy.Load() >= int64(n) {
			n++
			open()
		}
		select {
		case due <- planned{request: q, due: at}:
		case <-ctx.Done():
		}
		return true
	})
	close(due)
	// What is due and was not sent by then was never sent, and is missing in what was achieved.
	stop := time.AfterFunc(timeout, end)
	defer stop.Stop()
	wg.Wait()
	return nil
}

// connection is one of the pool: a line to each server that it has to do with, used one at a time.
type connection struct {
	*run
	busy   *atomic.Int64
	mu     sync.Mutex       // of lines, which the end of the load closes
	lines  map[string]*line // by scheme, host and port
	buf    []byte
	answer fasthttp.Response
}

type line struct {
	net net.Conn
	in  *bufio.Reader
}

func (c *connection) work(ctx context.Context, due <-chan planned) {
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	for p := range due {
		if ctx.Err() != nil {
			return
		}
		sent := time.Now()
		c.busy.Add(1)
		code, why := c.ask(ctx, p.request)
		c.busy.Add(-1)
		if ctx.Err() != nil && code == 0 {
			return // cut off: neither an answer nor the lack of one
		}
		c.count(p.request, code, why, c.answer.Body(), p.due, sent, time.Now())
	}
}

// ask sends a request and reads its answer. It returns the status, or 0 and why there was none. A server may close a line that nobody
// used for a while: then the request goes out on a new one.
func (c *connection) ask(ctx context.Context, q request) (code int, err error) {
	base, raw, err := c.bytes(q)
	if err != nil {
		return 0, err
	}
	l, used := c.lines[base], true
	if l == nil {
		if l, err = c.dial(ctx, base); err != nil {
			target.Wait(ctx, 10*time.Millisecond) // a server that refuses at once is not asked a million times
			return 0, err
		}
		used = false
	}
	code, stale, err := c.exchange(l, base, raw)
	again := len(c.own) == 0 || bytes.HasPrefix(raw, []byte("GET ")) // the platform's own requests can be made twice: gifts have a key
	if stale && used && again && ctx.Err() == nil {
		if l, err = c.dial(ctx, base); err != nil {
			return 0, err
		}
		code, _, err = c.exchange(l, base, raw)
	}
	return code, err
}

// exchange tells beside the status whether the line ended before the first byte of an answer.
func (c *connection) exchange(l *line, base string, raw []byte) (code int, stale bool, err error) {
	defer func() {
		if err != nil || c.answer.ConnectionClose() {
			c.drop(base)
		}
	}()
	if err := l.net.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, true, err
	}
	if _, err := l.net.Write(raw); err != nil {
		return 0, true, err
	}
	if _, err := l.in.Peek(1); err != nil {
		return 0, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET), err
	}
	c.answer.SkipBody = bytes.HasPrefix(raw, []byte("HEAD "))
	if err := c.answer.ReadLimitBody(l.in, bodyLimit); err != nil {
		return 0, false, err
	}
	return c.answer.StatusCode(), false, nil
}

// bytes is a request on the wire, and where it goes.
func (c *connection) bytes(q request) (base string, raw []byte, err error) {
	if len(c.own) > 0 {
		t := &c.own[q.number%uint64(len(c.own))]
		return t.base, t.bytes, nil
	}
	c.buf, err = wire(c.buf[:0], c.target(q))
	return c.bases[q.arm], c.buf, err
}

func (c *connection) dial(ctx context.Context, base string) (*line, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	scheme, addr, _ := strings.Cut(base, "://")
	dialer := net.Dialer{}
	dial := dialer.DialContext
	if scheme == "https" {
		dial = (&tls.Dialer{NetDialer: &dialer, Config: c.trust}).DialContext
	}
	conn, err := dial(limited, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &line{conn, bufio.NewReaderSize(conn, 4096)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines[base] = l
	if ctx.Err() != nil {
		conn.Close()
	}
	return l, ctx.Err()
}

func (c *connection) drop(base string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.lines[base]; l != nil {
		l.net.Close()
		delete(c.lines, base)
	}
}

// close ends whatever the connection is doing.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		l.net.Close()
	}
}
