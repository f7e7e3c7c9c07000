package api

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/livedrill/livedrill/target"
)

// waiting is how many requests may be due and not yet taken by a connection. When there are more the pace itself waits, and the load
// says that it is behind.
const waiting = 1 << 17

// bodyLimit bounds what is read of an answer.
const bodyLimit = 1 << 20

// pool makes the load with a fixed number of connections. Each takes the request that has been due longest.
func (r *run) pool(ctx context.Context) error {
	due := make(chan planned, waiting)
	working, end := context.WithCancel(ctx)
	defer end()
	var wg sync.WaitGroup
	for range r.Connections {
		c := &connection{run: r}
		wg.Go(func() { c.work(working, due) })
	}
	r.m.Pace(ctx, r.Rate, func(n uint64, at time.Time) bool {
		q, mine := r.draw(n)
		if mine {
			select {
			case due <- planned{q, at}:
			case <-ctx.Done():
			}
		}
		return mine
	})
	close(due)
	// What is due and was not sent by then was never sent, and is missing in what was achieved.
	stop := time.AfterFunc(timeout, end)
	defer stop.Stop()
	wg.Wait()
	return nil
}

// connection is one of the pool.
type connection struct {
	*run
	mu     sync.Mutex // of net, which the end of the load closes
	net    net.Conn
	addr   string
	in     *bufio.Reader
	buf    []byte
	answer fasthttp.Response
}

func (c *connection) work(ctx context.Context, due <-chan planned) {
	defer c.close()
	stop := context.AfterFunc(ctx, c.interrupt)
	defer stop()
	for p := range due {
		if ctx.Err() != nil {
			return
		}
		sent := time.Now()
		code := c.ask(ctx, p.request)
		if ctx.Err() != nil && code == 0 {
			return // cut off: neither an answer nor the lack of one
		}
		c.count(p.request, code, p.due, sent, time.Now())
	}
}

// ask sends a request and reads its answer. It returns the status, or 0 when there was none.
func (c *connection) ask(ctx context.Context, q request) int {
	addr, raw, err := c.bytes(q)
	if err != nil {
		return 0
	}
	if c.net != nil && c.addr != addr {
		c.close()
	}
	if c.net == nil {
		if err := c.dial(ctx, addr); err != nil {
			target.Wait(ctx, 10*time.Millisecond) // a server that refuses at once is not asked a million times
			return 0
		}
	}
	if c.net.SetDeadline(time.Now().Add(timeout)) != nil {
		return 0
	}
	_, err = c.net.Write(raw)
	if err == nil {
		c.answer.SkipBody = false
		err = c.answer.ReadLimitBody(c.in, bodyLimit)
	}
	if err != nil {
		c.close()
		return 0
	}
	code := c.answer.StatusCode()
	if c.answer.ConnectionClose() {
		c.close()
	}
	return code
}

// bytes is a request on the wire, and where it goes.
func (c *connection) bytes(q request) (addr string, raw []byte, err error) {
	if len(c.own) > 0 {
		t := &c.own[q.number%uint64(len(c.own))]
		return t.addr, t.bytes, nil
	}
	c.buf, err = wire(c.buf[:0], c.target(q))
	return strings.TrimPrefix(c.bases[q.arm], "http://"), c.buf, err
}

func (c *connection) dial(ctx context.Context, addr string) error {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.net, c.addr = conn, addr
	c.mu.Unlock()
	if c.in == nil {
		c.in = bufio.NewReaderSize(conn, 4096)
	}
	c.in.Reset(conn)
	return ctx.Err()
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.net != nil {
		c.net.Close()
		c.net = nil
	}
}

// interrupt ends whatever the connection is doing.
func (c *connection) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.net != nil {
		c.net.Close()
	}
}
