// Package redis breaks Redis servers.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// Dial reaches the server that a component is. Nothing is tried twice: what the server says is what is measured.
func Dial(on target.Component) (*redis.Client, error) {
	h := on.Handles.Redis
	if h == nil {
		return nil, errors.New("it is no Redis")
	}
	return redis.NewClient(&redis.Options{Network: network(h), Addr: h.Addr, Password: h.Password, MaxRetries: -1, DisableIdentity: true,
		DialTimeout: time.Second, ReadTimeout: 2 * time.Second, PoolSize: 2,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, on) }}), nil
}

func network(h *target.Redis) string {
	if strings.HasPrefix(h.Addr, "/") {
		return "unix"
	}
	return "tcp"
}

// connect opens a connection and says nothing. On a host of a range it comes from there: a fault of the host's link is not in its way.
func connect(ctx context.Context, on target.Component) (conn net.Conn, err error) {
	dial := func() (err error) {
		conn, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network(on.Handles.Redis), on.Handles.Redis.Addr)
		return err
	}
	if on.Handles.Network == nil {
		err = dial()
	} else {
		err = hosts.InNamespace(on.Handles.Network.Namespace, dial)
	}
	return conn, err
}

// saveSettings reads settings of the server, to be put back.
func saveSettings(ctx context.Context, on target.Component, names ...string) (injectors.Original, error) {
	c, err := Dial(on)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	was := map[string]string{}
	for _, name := range names {
		if was[name], err = setting(ctx, c, name); err != nil {
			return nil, err
		}
	}
	return injectors.Keep(was)
}

func setting(ctx context.Context, c *redis.Client, name string) (string, error) {
	got, err := c.ConfigGet(ctx, name).Result()
	if err != nil {
		return "", err
	}
	value, ok := got[name]
	if !ok {
		return "", fmt.Errorf("the server has no setting %s", name)
	}
	return value, nil
}

// putSettings puts settings back as they were, in the order of their names.
func putSettings(ctx context.Context, c *redis.Client, was injectors.Original, names ...string) error {
	var before map[string]string
	if err := was.Read(&before); err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ConfigSet(ctx, name, before[name]).Err(); err != nil {
			return fmt.Errorf("CONFIG SET %s %s: %w", name, before[name], err)
		}
	}
	return nil
}

// checkSettings proves that settings are as they were.
func checkSettings(ctx context.Context, c *redis.Client, was injectors.Original) error {
	var before map[string]string
	if err := was.Read(&before); err != nil {
		return err
	}
	for name, value := range before {
		if now, err := setting(ctx, c, name); err != nil {
			return err
		} else if now != value {
			return fmt.Errorf("%s is %q, was %q", name, now, value)
		}
	}
	return nil
}

// info reads one number of the server's account of itself.
func info(ctx context.Context, c *redis.Client, section, field string) (float64, error) {
	text, err := c.Info(ctx, section).Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			var n float64
			_, err := fmt.Sscan(v, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("the server does not say what its %s is", field)
}

// nothing is what a fault has to put back that changes no setting.
func nothing() (injectors.Original, error) { return injectors.Keep(struct{}{}) }

const (
	probeKey = "livedrill:probe"
	probes   = 50
)

// refusedWrites writes as the platform does and counts what the server refuses with the words that an error begins with.
func refusedWrites(ctx context.Context, on target.Component, words string) (injectors.Measured, error) {
	return refused(on, "write", words, func(c *redis.Client) error { return c.Set(ctx, probeKey, "x", time.Second).Err() })
}

// refusedReads does the same with reads.
func refusedReads(ctx context.Context, on target.Component, words string) (injectors.Measured, error) {
	return refused(on, "read", words, func(c *redis.Client) error { return c.Exists(ctx, probeKey).Err() })
}

func refused(on target.Component, what, words string, ask func(*redis.Client) error) (injectors.Measured, error) {
	c, err := Dial(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer c.Close()
	refused, other := 0, ""
	for range probes {
		err := ask(c)
		switch {
		case err == nil:
		case strings.HasPrefix(err.Error(), words):
			refused++
		default:
			other = err.Error()
		}
	}
	name := "refused_" + what + "_ratio"
	m := injectors.Measured{N: probes, Asked: map[string]float64{name: 1}, Is: map[string]float64{name: float64(refused) / probes},
		Bites: refused == probes, Clean: refused == 0 && other == "", Reason: fmt.Sprintf("%d of %d %ss were refused", refused, probes, what)}
	m.Bound(name, probes)
	if other != "" {
		m.Reason += ": " + other
	}
	return m, nil
}

// Growth watches one of the server's counters (INFO stats) for a time, and gives how fast it grows, a second.
func Growth(ctx context.Context, c *redis.Client, counter string, over time.Duration) (float64, error) {
	before, err := info(ctx, c, "stats", counter)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if !target.Wait(ctx, over) {
		return 0, ctx.Err()
	}
	after, err := info(ctx, c, "stats", counter)
	return (after - before) / time.Since(start).Seconds(), err
}
