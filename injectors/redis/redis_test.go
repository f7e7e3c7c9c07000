package redis

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
)

// server starts a real Redis on a Unix socket.
func server(t *testing.T) target.Component {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not on this machine")
	}
	dir, err := os.MkdirTemp("", "livedrill")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--maxmemory", "100mb",
		"--maxmemory-policy", "allkeys-lru")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it is told to end
	client := redis.NewClient(&redis.Options{Addr: socket, Network: "unix"})
	defer client.Close()
	for deadline := time.Now().Add(5 * time.Second); client.Ping(t.Context()).Err() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	return target.Component{Name: "redis", Handles: target.Handles{Redis: &target.Redis{Addr: socket}}}
}

var faults = map[string]func() injectors.Fault{"oom": func() injectors.Fault { return &OOM{Ballast: 4} }}

func TestMain(m *testing.M) {
	injectortest.Victim(faults)
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	on := server(t)
	injectortest.Run(t, injectortest.Case{Kind: "oom", New: faults["oom"], On: on, State: func() (any, error) {
		c, err := dial(on)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		settings, err := read(t.Context(), c)
		if err != nil {
			return nil, err
		}
		keys, err := c.Keys(t.Context(), ballastKey+"*").Result()
		return map[string]any{"settings": settings, "ballast": len(keys)}, err
	}})
}
