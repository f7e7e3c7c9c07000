package danmaku

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"testing"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/danmaku"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"danmaku": danmaku.Serve})
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"slow-readers": func() injectors.Fault { return &SlowReaders{Members: 5, Room: "r"} },
	"hot-room":     func() injectors.Fault { return &Talk{Repeated: many(50), Sort: "hot-room", Room: "r"} },
	"stampede":     func() injectors.Fault { return &Stampede{Repeated: many(30), Room: "r"} },
})

// server is the platform's own bullet chat, with a real Redis.
func server(t *testing.T) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not on this machine")
	}
	redis := exec.Command(path, "--port", "6379", "--bind", hosts.BridgeAddr, "--protected-mode", "no", "--save", "")
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Process.Kill(); _ = redis.Wait() })
	defences, err := target.ProfileDefences("hardened", nil)
	if err != nil {
		t.Fatal(err)
	}
	on, _ := hoststest.Component(t, r, target.Config{Name: "danmaku-a", Kind: "danmaku", Defences: defences,
		Peers: map[string]string{"redis:6379": hosts.BridgeAddr + ":6379"}}, map[string]int{"ws": target.PortDanmaku})
	return on
}

func TestConformance(t *testing.T) {
	on := server(t)
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			injectortest.Run(t, injectortest.Case{Kind: name, Like: map[string]string{"oversize": "hot-room", "storm": "hot-room"}[name], New: faults[name], On: on, State: func() (any, error) { return injectortest.Strangers(t.Context(), on) }})
		})
	}
}

func TestRoomsHaveNames(t *testing.T) {
	for _, room := range []string{"", "a b", "a\r\nX: y", "a&room=b"} {
		if err := (&SlowReaders{Members: 1, Room: room}).Validate(); err == nil {
			t.Errorf("%q is taken for a room", room)
		}
	}
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/./^is_proven") }
