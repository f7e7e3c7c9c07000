package flv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/audience"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/stamp"
)

// Load is an audience.
type Load struct{ audience.Settings }

// Default is ten viewers.
func Default() loadgen.Generator { return &Load{audience.Usual()} }

// Validate finds settings that cannot work.
func (l *Load) Validate() error { return l.Check("http", "https") }

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	return l.Fill(ctx, on, m, "flv", func(*audience.House) audience.Watch {
		return Watch(func(s *audience.Session) (Open, func()) {
			client := &http.Client{CheckRedirect: loadgen.Stay, Transport: &http.Transport{DisableCompression: true}}
			return func(ctx context.Context, edge string) (Source, error) { return open(ctx, client, s, edge) }, client.CloseIdleConnections
		})
	})
}

// Source is a stream that a viewer reads, tag by tag.
type Source interface {
	Next() (flv.Tag, error)
	Close() error
}

// Open connects a viewer to its channel at an edge; empty: at the address that it was given. What it opens ends with ctx.
type Open func(ctx context.Context, edge string) (Source, error)

// Watch is how a session goes whose media come as tags, by whatever protocol. with gives a session's Open, and what ends it.
func Watch(with func(*audience.Session) (Open, func())) audience.Watch {
	return func(ctx context.Context, s *audience.Session) error {
		v := &viewer{Session: s}
		var end func()
		v.open, end = with(s)
		defer end()
		return v.watch(ctx)
	}
}

const (
	hungry  = 500 * time.Millisecond // nothing came for so long: is there another edge?
	answer  = 5 * time.Second        // how long a server may take to answer
	longest = 5 * time.Second        // media time that one frame may stand for: more is a jump of the time stamps
)

// viewer is one session.
type viewer struct {
	*audience.Session
	open     Open
	answered bool      // some server has, once
	newest   uint32    // time stamp of the newest frame, over connections
	sent     time.Time // and its send time, if it had one
	have     bool

	mu   sync.Mutex
	last time.Time // when something came
}

// watch is part of the session: see audience.Watch.
func (v *viewer) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	v.last = v.Began
	v.Assign(ctx)
	lost := false
	var wg sync.WaitGroup
	wg.Go(func() {
		v.Follow(ctx, func(now time.Time) bool {
			v.mu.Lock()
			quiet := now.Sub(v.last)
			v.mu.Unlock()
			if quiet > time.Duration(v.House.Patience) && v.Left(now) == 0 {
				lost = true
				cancel()
			}
			return quiet > hungry
		})
	})
	var why error
	for ctx.Err() == nil {
		if err := v.connect(ctx); err != nil {
			if ctx.Err() == nil { // else it is the session that ends
				why = err
			}
			target.Wait(ctx, 250*time.Millisecond)
		}
	}
	cancel()
	wg.Wait()
	if why == nil && !v.answered {
		why = context.DeadlineExceeded
	}
	if lost {
		return audience.Lost(why)
	}
	return nil
}

// connect reads the stream until it breaks off or the edge changes.
func (v *viewer) connect(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	edge := v.Edge(func() { end(nil) })
	if edge == "" && v.House.URL == "" {
		return v.NoEdge()
	}
	v.Reached(audience.Dispatched)
	slow := time.AfterFunc(answer, func() { end(context.DeadlineExceeded) })
	defer slow.Stop()
	in, err := v.open(ctx, edge)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = in.Close() }() // it was only read
	slow.Stop()
	v.answered = true
	return v.read(in)
}

// open asks for the stream by HTTP.
func open(ctx context.Context, client *http.Client, s *audience.Session, edge string) (Source, error) {
	address := s.House.URL
	if address == "" {
		var err error
		if address, err = loadgen.URL(s.House.On, edge, "http", "/live/"+s.Channel+".flv"); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(s.Traced(ctx), http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s", address, target.ErrRefused, resp.Status), resp.Body.Close())
	}
	return &answered{flv.NewReader(bufio.NewReaderSize(resp.Body, 16<<10)), resp.Body}, nil
}

// answered is a stream in the body of an answer.
type answered struct {
	*flv.Reader
	io.Closer
}

// read takes the stream apart. Media count from the first key frame of the connection.
func (v *viewer) read(in Source) error {
	v.Connected()
	begun, before := false, uint32(0)
	fresh := !v.have // an edge begins with what it has: a viewer who comes again has seen the first of it
	for {
		t, err := in.Next()
		if err != nil {
			return err
		}
		now := time.Now()
		v.House.N.Received(len(t.Data))
		v.mu.Lock()
		v.last = now
		v.mu.Unlock()
		if t.IsAAC() {
			v.Sound(time.Duration(t.Timestamp)*time.Millisecond, t.Data)
		}
		if !t.IsFrame() || !begun && !t.IsKey() {
			continue
		}
		sent, stamped := stamp.Find(t.Data)
		if !fresh && v.repeats(t, sent, stamped) {
			begun, before = true, t.Timestamp
			continue
		}
		fresh = true
		media := time.Duration(t.Timestamp-before) * time.Millisecond
		if !begun || media > longest {
			media = 0
		}
		begun, before = true, t.Timestamp
		v.newest, v.sent, v.have = t.Timestamp, sent, true
		v.Arrived(now, media)
		decoded := time.Duration(t.Timestamp) * time.Millisecond
		v.Picture(decoded, decoded+time.Duration(t.CompositionTime())*time.Millisecond, t.Data, now)
	}
}

// repeats tells whether the viewer has seen a frame. Its send time says so: time stamps begin anew with a publisher who comes again. Of a
// server of one's own whose frames have none, time stamps of a minute back count as seen.
func (v *viewer) repeats(t flv.Tag, sent time.Time, stamped bool) bool {
	if stamped && !v.sent.IsZero() {
		return !sent.After(v.sent)
	}
	behind := int32(t.Timestamp - v.newest)
	return behind <= 0 && behind > -60_000
}
