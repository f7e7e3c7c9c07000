package cache

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/attack"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/injectors/redis"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

var faults = map[string]func() injectors.Fault{
	"breakdown": func() injectors.Fault { return &Breakdown{Key: "room:0", Every: unit.Duration(20 * time.Millisecond)} },
}

func TestMain(m *testing.M) {
	injectortest.Victim(faults)
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
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
	c, err := redis.Dial(on)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool { return c.Ping(t.Context()).Err() == nil }); err != nil {
		t.Fatal(err)
	}
	// The platform: somebody makes the key anew whenever it is gone.
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for target.Wait(ctx, 5*time.Millisecond) {
			_ = c.SetNX(ctx, "room:0", "a room", time.Hour).Err()
		}
	}()
	t.Cleanup(func() { stop(); <-over })
	t.Run("a key that nobody makes anew", func(t *testing.T) {
		f := &Breakdown{Key: "nobody:0", Every: unit.Duration(20 * time.Millisecond)}
		if err := f.Inject(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		if m, err := f.Effect(t.Context(), on); err != nil || m.Bites {
			t.Errorf("what hurts nobody is called an effect: %+v, %v", m, err)
		}
		if err := f.Restore(t.Context(), on, nil); err != nil {
			t.Fatal(err)
		}
	})
	injectortest.Run(t, injectortest.Case{Kind: "breakdown", New: faults["breakdown"], On: on, State: func() (any, error) {
		return fmt.Sprint(injectors.Begun((&Breakdown{Key: "room:0"}).name(on))), nil
	}})
}

func TestPenetrationStaysInARange(t *testing.T) {
	if err := attack.Absent().Check(t.Context(), target.Component{}); err == nil {
		t.Error("it would ask a component that is no host of a range")
	}
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/./^is_proven") }
