package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// roomLife is how long a room stays in the cache.
const roomLife = 2 * time.Second

// cache is Redis in front of MariaDB. Without the fallback, what Redis refuses the request fails with, as in most code
// that people ship. With it, Redis is a help that may be missing: rooms stay in this process for as long, sessions live in
// the signed token, and the ledger's own unique key makes gifts safe.
type cache struct {
	client   *redis.Client
	fallback bool
	without  prometheus.Counter // requests that went on although Redis refused or failed
	mu       sync.Mutex
	local    map[string]entry
}

type entry struct {
	room  Room
	until time.Time
}

func (c *cache) read(ctx context.Context, key string, load func(context.Context) (Room, error)) (Room, error) {
	var room Room
	text, err := c.client.Get(ctx, key).Bytes()
	if err == nil {
		err = json.Unmarshal(text, &room)
		return room, err
	}
	if !errors.Is(err, redis.Nil) && !c.fallback {
		return room, fmt.Errorf("cache: %w", err)
	}
	if c.fallback {
		if room, ok := c.remembered(key); ok {
			return room, nil
		}
	}
	if room, err = load(ctx); err != nil {
		return room, err
	}
	if text, err = json.Marshal(room); err != nil {
		return room, err
	}
	if err := c.client.Set(ctx, key, text, roomLife).Err(); err != nil {
		if !c.fallback {
			return room, fmt.Errorf("cache: %w", err)
		}
		c.without.Inc()
		c.remember(key, room)
	}
	return room, nil
}

func (c *cache) put(ctx context.Context, key string, value []byte, life time.Duration) error {
	return c.optional(c.client.Set(ctx, key, value, life).Err())
}

// mark notes that a key is in use. Seeing it again is no error: the ledger decides.
func (c *cache) mark(ctx context.Context, key string, life time.Duration) error {
	return c.optional(c.client.SetNX(ctx, key, 1, life).Err())
}

// optional makes what Redis could not do no error where that defence is on.
func (c *cache) optional(err error) error {
	if err != nil && c.fallback {
		c.without.Inc()
		return nil
	}
	return err
}

// rememberedRooms bounds what this process keeps when Redis does not.
const rememberedRooms = 10_000

func (c *cache) remembered(key string) (Room, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.local[key]
	return e.room, ok && time.Now().Before(e.until)
}

func (c *cache) remember(key string, room Room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.local) >= rememberedRooms {
		clear(c.local)
	}
	c.local[key] = entry{room, time.Now().Add(roomLife)}
}
