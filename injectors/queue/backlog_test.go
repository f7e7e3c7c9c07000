package queue

import (
	"context"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/ranking"
	"github.com/livedrill/livedrill/target/redis"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"redis": redis.Serve, "ranking": ranking.Serve})
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{"backlog": slow})

func slow() injectors.Fault { return &Backlog{By: unit.Duration(60 * time.Millisecond)} }

// consumer is a real consumer of a real Redis.
func consumer(t *testing.T) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not on this machine")
	}
	secrets, peers := target.Secrets{Redis: "r"}, map[string]string{}
	server, _ := hoststest.Component(t, r, target.Config{Name: "redis", Kind: "redis", Peers: peers, Secrets: secrets}, map[string]int{"redis": target.PortRedis})
	on, _ := hoststest.Component(t, r, target.Config{Name: "ranking", Kind: "ranking", Peers: peers, Secrets: secrets}, nil)
	on.Handles.Queue = &target.Queue{Redis: target.Redis{Addr: net.JoinHostPort(server.Addr, strconv.Itoa(target.PortRedis)), Password: "r"},
		Network: server.Handles.Network, Stream: ranking.Queue}
	return on
}

func TestConformance(t *testing.T) {
	on := consumer(t)
	injectortest.Run(t, injectortest.Case{Kind: "backlog", New: slow, On: on, Wrong: target.Component{Name: "origin", Kind: "origin", Socket: on.Socket},
		State: func() (any, error) { return target.HasBeenTold[target.Consumption](t.Context(), on, "ranking") }})
}

// TestNobodyConsumes does not take a consumer that is dead for one that is slow, or for one that is well.
func TestNobodyConsumes(t *testing.T) {
	on := consumer(t)
	on.Handles.Queue.Stream = "nobody's"
	m, err := slow().Effect(t.Context(), on)
	if err != nil || m.Bites || m.Clean || m.Is["waiting"] != probes {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/^is") }
