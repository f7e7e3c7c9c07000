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
)

// Dial reaches the server that a component is. Nothing is tried twice: what the server says is what is measured.
func Dial(on target.Component) (*redis.Client, error) {
	h := on.Handles.Redis
	if h == nil {
		return nil, errors.New("it is no Redis")
	}
	return redis.NewClient(&redis.Options{Network: network(h), Addr: h.Addr, Password: h.Password, MaxRetries: -1, DisableIdentity: true,
		DialTimeout: time.Second, ReadTimeout: 2 * time.Second, PoolSize: 2}), nil
}

func network(h *target.Redis) string {
	if strings.HasPrefix(h.Addr, "/") {
		return "unix"
	}
	return "tcp"
}

// connect opens a connection and says nothing.
func connect(ctx context.Context, h *target.Redis) (net.Conn, error) {
	return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network(h), h.Addr)
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
