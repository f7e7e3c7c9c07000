package clock

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/gateway"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/mariadb"
	"github.com/livedrill/livedrill/target/redis"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"redis": redis.Serve, "mariadb": mariadb.Serve, "gateway": gateway.Serve})
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{"skew": ahead})

func ahead() injectors.Fault {
	return &Skew{By: unit.Duration(2 * time.Hour), User: "user0", Password: "pw-user0"}
}

// platform is a real gateway on a real Redis and MariaDB.
func platform(t *testing.T) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	for _, program := range []string{"redis-server", "mariadbd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not on this machine", program)
		}
	}
	peers := map[string]string{}
	var on target.Component
	for _, kind := range []struct {
		name string
		port int
	}{{"redis", target.PortRedis}, {"mariadb", target.PortMariaDB}, {"gateway", target.PortHTTP}} {
		on, _ = hoststest.Component(t, r, target.Config{Name: kind.name, Kind: kind.name, Peers: peers,
			Secrets: target.Secrets{Token: "t", Stream: "s", Database: "d", Redis: "r"}}, map[string]int{"http": kind.port})
	}
	return on
}

func TestConformance(t *testing.T) {
	on := platform(t)
	injectortest.Run(t, injectortest.Case{Kind: "skew", New: ahead, On: on, Wrong: target.Component{Name: "origin", Kind: "origin", Socket: on.Socket},
		State: func() (any, error) { return target.HasBeenTold[target.Clock](t.Context(), on, "gateway") }})

	for _, behind := range []bool{false, true} {
		f := &Skew{By: unit.Duration(2 * time.Hour), Behind: behind, User: "user0", Password: "pw-user0"}
		if err := f.Check(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		was, err := f.Save(t.Context(), on)
		if err == nil {
			err = f.Inject(t.Context(), on)
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := f.Effect(t.Context(), on)
		if want := map[bool]float64{false: 1, true: 0}[behind]; err != nil || !m.Bites || m.Is["old_log_in_refused"] != want {
			t.Errorf("behind %v: %+v, %v; an old log-in ends when the clock is ahead alone", behind, m, err)
		}
		if err := f.Restore(t.Context(), on, was); err != nil {
			t.Fatal(err)
		}
		if m, err = f.Effect(t.Context(), on); err != nil || !m.Clean || m.Is["old_log_in_refused"] != 0 {
			t.Errorf("behind %v, after it: %+v, %v", behind, m, err)
		}
	}
}

func FuzzIssued(f *testing.F) {
	for _, token := range []string{"", "a.b", "a.!.c", "a.bm8.c", "a.eyJpYXQiOjF9.c", "a.eyJpYXQiOjFlMzA4fQ.c"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if at, err := issued(token); err == nil && strings.Count(token, ".") != 2 {
			t.Errorf("%q was issued at %s", token, at)
		}
	})
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/^is") }
