package cache

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/attack"
	"github.com/livedrill/livedrill/injectors/injectortest"
	broken "github.com/livedrill/livedrill/injectors/redis"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"breakdown": func() injectors.Fault { return &Breakdown{Key: "room:0", Every: unit.Duration(20 * time.Millisecond)} },
})

func TestMain(m *testing.M) {
	injectortest.Victim(faults)
	hoststest.Main(m)
}

// server is a real Redis with ten rooms.
func server(t *testing.T) (target.Component, *redis.Client) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not on this machine")
	}
	dir, err := os.MkdirTemp("", "ld") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	on := target.Component{Name: "redis", Handles: target.Handles{Redis: &target.Redis{Addr: socket}}}
	c, err := broken.Dial(on)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool { return c.Ping(t.Context()).Err() == nil }); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := c.Set(t.Context(), fmt.Sprintf("room:%d", i), "a room", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return on, c
}

func TestConformance(t *testing.T) {
	t.Run("breakdown", func(t *testing.T) {
		on, c := server(t)
		// The platform: somebody makes the key anew whenever it is gone.
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			for target.Wait(ctx, 5*time.Millisecond) {
				if c.Get(ctx, "room:0").Err() != nil {
					_ = c.Set(ctx, "room:0", "a room", time.Hour).Err()
				}
			}
		}()
		t.Cleanup(func() { stop(); <-over })
		injectortest.Run(t, injectortest.Case{Kind: "breakdown", New: faults["breakdown"], On: on, State: func() (any, error) {
			return fmt.Sprint(injectors.Begun((&Breakdown{Key: "room:0"}).name(on))), nil
		}})
	})
	t.Run("avalanche", func(t *testing.T) {
		on, c := server(t)
		injectortest.Run(t, injectortest.Case{Kind: "avalanche", New: faults["avalanche"], On: on, State: func() (any, error) {
			keys, err := c.Keys(t.Context(), "*").Result()
			slices.Sort(keys)
			return fmt.Sprint(keys), err
		}})
	})
	t.Run("penetration", func(t *testing.T) {
		r := hoststest.Range(t)
		host, err := r.AddHost("gateway")
		if err != nil {
			t.Fatal(err)
		}
		hoststest.Web(t, host, 80, http.NotFoundHandler())
		on := target.Component{Name: "gateway", Addr: host.Addr, Ports: map[string]int{"http": 80}, Handles: target.Handles{Network: host.Network()}}
		injectortest.Run(t, injectortest.Case{Kind: "penetration", New: faults["penetration"], On: on, State: func() (any, error) {
			return injectortest.Strangers(t.Context(), on)
		}})
	})
}

func TestAKeyThatNobodyMakesAnew(t *testing.T) {
	on, _ := server(t)
	f := &Breakdown{Key: "nobody:0", Every: unit.Duration(20 * time.Millisecond)}
	restore := injectortest.Inject(t, f, on)
	if m, err := f.Effect(t.Context(), on); err != nil || m.Bites {
		t.Errorf("what hurts nobody is called an effect: %+v, %v", m, err)
	}
	restore()
}

func TestPenetrationStaysInARange(t *testing.T) {
	if err := attack.Absent().Check(t.Context(), target.Component{}); err == nil {
		t.Error("it would ask a component that is no host of a range")
	}
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/./^is_proven") }
