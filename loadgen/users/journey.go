package users

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// limit is how long a step may take, if it has no patience of its own.
const limit = 5 * time.Second

// person is one of the crowd on the way.
type person struct {
	*crowd
	number   uint64
	token    string
	assigned loadgen.Assignment
	stream   *stream
}

// journey goes the whole way, from the moment at which the person was due. One that the end of the load cuts off is not counted.
func (c *crowd) journey(ctx context.Context, number uint64, due time.Time) {
	p := &person{crowd: c, number: number}
	defer func() { p.stream.close() }()
	c.n.begun.Inc()
	rng := rand.New(rand.NewPCG(c.m.Seed, number))
	stay := time.Duration((0.5 + rng.Float64()) * float64(c.Stay))
	begun := due
	for i, step := range []func(context.Context) error{p.logIn, p.dispatch, p.watch, p.chat, p.gift,
		func(ctx context.Context) error { return p.stay(ctx, stay) }} {
		err := step(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.Debug("journey", "person", number, "step", steps[i], "err", err)
			c.n.failed[steps[i]].Inc()
			c.n.broken.Inc()
			c.n.dropped.Inc()
			c.m.Failed.Count(err)
			return
		}
		now := time.Now()
		c.n.took[steps[i]].Observe(now.Sub(begun).Seconds())
		begun = now
	}
	c.n.whole.Inc()
}

// ask sends JSON to the gateway and reads the answer into what is given.
func (p *person) ask(ctx context.Context, path string, body string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	address, err := loadgen.URL(p.on, "gateway", "http", path)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w: %s", path, target.ErrRefused, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(answer)
}

func (p *person) logIn(ctx context.Context) error {
	user := p.number % uint64(p.Accounts)
	var answer struct{ Token string }
	err := p.ask(ctx, "/v1/login", fmt.Sprintf(`{"name":"user%d","password":"pw-user%d"}`, user, user), &answer)
	if err == nil && answer.Token == "" {
		err = errors.New("no token in the answer")
	}
	p.token = answer.Token
	return err
}

func (p *person) dispatch(ctx context.Context) (err error) {
	p.assigned, err = loadgen.Dispatch(ctx, p.client, p.on, p.m.Region)
	return err
}

// watch waits for the first picture.
func (p *person) watch(ctx context.Context) error {
	return p.reach(ctx, time.Now().Add(time.Duration(p.Patience)))
}

// reach connects until there is a picture, with a pause before each new try, to whatever edge the platform says by then.
func (p *person) reach(ctx context.Context, until time.Time) (err error) {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if err = p.open(ctx, until); err == nil {
			return nil
		}
		if time.Until(until) < pause || !target.Wait(ctx, pause) {
			return err
		}
		p.n.again.Inc()
		if a, err := loadgen.Dispatch(ctx, p.client, p.on, p.m.Region); err == nil {
			p.assigned = a
		}
	}
}

// stream is a connection that has had its first picture.
type stream struct {
	tags *flv.Reader
	body io.Closer
	end  context.CancelFunc
	idle *time.Timer // ends the connection when nothing comes
}

func (s *stream) close() {
	if s != nil {
		s.idle.Stop()
		s.end()
		_ = s.body.Close() // it was only read
	}
}

func (p *person) open(ctx context.Context, until time.Time) error {
	address, err := loadgen.URL(p.on, p.assigned.Edge, "http", fmt.Sprintf("/live/%s-%d.flv", p.Channels, p.number%uint64(p.Streams)))
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	idle := time.AfterFunc(time.Until(until), end)
	fail := func(err error) error {
		idle.Stop()
		end()
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fail(err)
	}
	resp, err := p.client.Do(req) //nolint:bodyclose // the stream is closed with its person
	if err != nil {
		return fail(err)
	}
	s := &stream{tags: flv.NewReader(bufio.NewReaderSize(resp.Body, 16<<10)), body: resp.Body, end: end, idle: idle}
	if resp.StatusCode != http.StatusOK {
		s.close()
		return fmt.Errorf("%s: %s", address, resp.Status)
	}
	for {
		t, err := s.tags.Next()
		if err != nil {
			s.close()
			return err
		}
		if t.IsKey() {
			p.stream.close()
			p.stream = s
			return nil
		}
	}
}

// stay goes on watching. A stream that breaks off is connected to anew, as long as patience lasts.
func (p *person) stay(ctx context.Context, stay time.Duration) error {
	patience := time.Duration(p.Patience)
	for end := time.Now().Add(stay); time.Now().Before(end); {
		p.stream.idle.Reset(patience)
		if _, err := p.stream.tags.Next(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.n.again.Inc()
			if err := p.reach(ctx, time.Now().Add(patience)); err != nil {
				return err
			}
		}
	}
	return nil
}

// gift is paid once, whatever happens: its key is the person's own.
func (p *person) gift(ctx context.Context) error {
	var answer json.RawMessage
	return p.ask(ctx, "/v1/gifts", fmt.Sprintf(`{"key":"%s-%d-%d","room":%d,"amount":10}`, p.m.Name, p.m.Start.UnixMilli(), p.number, p.number%100), &answer)
}
