package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// fullHouse is what the server says to whom it does not let in.
const fullHouse = "max number of clients reached"

// closedByServer tells whether a connection ended as one does that is not let in.
func closedByServer(err error) bool {
	return strings.Contains(err.Error(), fullHouse) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// Connections lets nobody new in: the server's limit on clients is put to those that are there.
type Connections struct {
	Spare int `json:"spare" unit:"connections" help:"how many more are let in"`
}

// Validate finds settings that cannot work.
func (f *Connections) Validate() error {
	if f.Spare < 0 || f.Spare > 1000 {
		return fmt.Errorf("spare: %d is not between 0 and 1000", f.Spare)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Connections) BackEnd() string { return "maxclients" }

// Check is part of injectors.Fault.
func (*Connections) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx).Err()
}

// Save is part of injectors.Fault.
func (*Connections) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return saveSettings(ctx, on, "maxclients")
}

func (*Connections) name(on target.Component) string {
	return "redis connection " + on.Handles.Redis.Addr
}

// Inject is part of injectors.Fault. One connection is kept: by it the limit can be lifted again.
func (f *Connections) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	was, err := setting(ctx, c, "maxclients")
	var n float64
	if err == nil {
		n, err = info(ctx, c, "clients", "connected_clients")
	}
	if err == nil {
		err = c.ConfigSet(ctx, "maxclients", strconv.Itoa(int(n)+f.Spare)).Err()
	}
	if err == nil {
		err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
			defer c.Close()
			<-ctx.Done()
			// By the connection that is kept, before others can take its place; Restore reads whether it worked.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = c.ConfigSet(last, "maxclients", was).Err()
		})
	}
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

// Effect opens connections beyond those that are spare and counts the ones that the server refuses in its own words.
func (f *Connections) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	refused, in := 0, 0
	var other error
	for range f.Spare + 20 {
		conn, err := connect(ctx, on)
		if err != nil {
			return injectors.Measured{}, err
		}
		defer conn.Close()
		// Whoever is refused is told so without having asked; whoever is let in hears nothing until then.
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		line, err := bufio.NewReader(conn).ReadString('\n')
		switch {
		case strings.Contains(line, fullHouse):
			refused++
		case errors.Is(err, os.ErrDeadlineExceeded):
			in++
		default:
			other = fmt.Errorf("%q: %w", line, err)
		}
	}
	m := injectors.Measured{N: uint64(f.Spare + 20), Asked: map[string]float64{"spare_connections": float64(f.Spare)},
		Is:    map[string]float64{"refused_connections": float64(refused), "accepted_connections": float64(in)},
		Bites: refused > 0 && in <= f.Spare, Clean: refused == 0 && other == nil,
		Reason: fmt.Sprintf("%d of %d new connections are refused", refused, f.Spare+20)}
	if other != nil {
		m.Reason += ": " + other.Error()
	}
	return m, nil
}

// Restore is part of injectors.Fault. When the process that injected it has died, its connection's place is free.
func (f *Connections) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	injectors.End(f.name(on))
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	for err = c.Ping(ctx).Err(); err != nil && closedByServer(err) && target.Wait(ctx, retry); {
		err = c.Ping(ctx).Err()
	}
	if err == nil {
		err = putSettings(ctx, c, was, "maxclients")
	}
	if err == nil {
		err = checkSettings(ctx, c, was)
	}
	return err
}
