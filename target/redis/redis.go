// Package redis runs the platform's real Redis server: starts it from a configuration file that users can read, watches
// it, starts it again when it ends, and offers its INFO as metrics.
package redis

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// Serve runs the server until ctx ends.
func Serve(ctx context.Context, c target.Config) error {
	file := filepath.Join(c.Dir, "redis.conf")
	if err := os.WriteFile(file, []byte(Conf(c)), 0o600); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	metrics := record.NewMetrics()
	restarts := metrics.Counter("livedrill_component_restarts_total", "Times the server was started again.", nil)
	client := redis.NewClient(&redis.Options{Addr: c.Bind(target.PortRedis), Password: c.Secrets.Redis, MaxRetries: -1,
		DialTimeout: time.Second, ReadTimeout: time.Second, PoolSize: 2, DisableIdentity: true})
	defer client.Close()
	gauges(metrics, &info{ctx: ctx, client: client})

	server := target.Program{Path: "redis-server", Args: []string{file}, Output: os.Stderr, Grace: 2 * time.Second}
	return target.Together(ctx,
		func(ctx context.Context) error {
			return server.Keep(ctx, func(err error) {
				slog.Error("redis-server ended", "err", err)
				restarts.Inc()
			})
		},
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, http.NewServeMux(), func(ctx context.Context) error { return client.Ping(ctx).Err() })
		})
}

// Conf is the server's configuration. Both profiles run Redis as it comes; the password is replaced in what users see.
func Conf(c target.Config) string {
	return fmt.Sprintf(`# Redis of the bundled platform (profile-independent).
bind %s
port %d
requirepass %s
dir %s
daemonize no
# A cache and a message bus: nothing is kept over a restart.
save ""
appendonly no
# As Debian ships it: no limit, and so no eviction policy that would ever act.
maxmemory 0
maxmemory-policy noeviction
enable-debug-command no
`, c.Listen, target.PortRedis, c.Secrets.Redis, c.Dir)
}

// info is the server's own account of itself, read at most once per scrape.
type info struct {
	ctx    context.Context // of the process: metrics are read without one of their own
	client *redis.Client
	mu     sync.Mutex
	read   time.Time
	fields map[string]float64
}

func gauges(m *record.Metrics, i *info) {
	for _, g := range []struct{ name, field, help string }{
		{"livedrill_redis_memory_bytes", "used_memory", "Memory that Redis counts as used."},
		{"livedrill_redis_memory_limit_bytes", "maxmemory", "The limit on that memory; 0 is none."},
		{"livedrill_redis_clients", "connected_clients", "Connections from clients."},
		{"livedrill_redis_pubsub_channels", "pubsub_channels", "Channels with a subscriber."},
	} {
		m.GaugeFunc(g.name, g.help, nil, func() float64 { return i.get(g.field) })
	}
	for _, g := range []struct{ name, field, help string }{
		{"livedrill_redis_commands_total", "total_commands_processed", "Commands done."},
		{"livedrill_redis_errors_total", "total_error_replies", "Commands answered with an error."},
		{"livedrill_redis_keyspace_hits_total", "keyspace_hits", "Look-ups that found their key."},
		{"livedrill_redis_keyspace_misses_total", "keyspace_misses", "Look-ups that did not."},
	} {
		m.CounterFunc(g.name, g.help, nil, func() float64 { return i.get(g.field) })
	}
}

func (i *info) get(field string) float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.read) > 100*time.Millisecond {
		i.read = time.Now()
		i.fields = map[string]float64{}
		ctx, cancel := context.WithTimeout(i.ctx, 500*time.Millisecond)
		defer cancel()
		text, err := i.client.Info(ctx).Result()
		if err != nil {
			return 0
		}
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				i.fields[key] = v
			}
		}
	}
	return i.fields[field]
}
