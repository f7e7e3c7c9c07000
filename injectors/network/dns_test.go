package network

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/dns"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

// serveDNS makes the test binary the platform's name server, when it is started for that.
func serveDNS() {
	if len(os.Args) != 3 || os.Args[1] != "serve" {
		return
	}
	var c target.Config
	err := json.Unmarshal([]byte(os.Args[2]), &c)
	if err == nil {
		err = dns.Serve(context.Background(), c)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func nxdomain() injectors.Fault {
	return &DNS{Answer: "nxdomain", By: unit.Duration(100 * time.Millisecond)}
}

func TestDNS(t *testing.T) {
	host, err := hoststest.Range(t).AddHost("dns")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ld") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := target.Config{Name: "dns", Kind: "dns", Listen: host.Addr, Socket: filepath.Join(dir, "s"), Names: map[string]string{"dns": host.Addr, "redis": "10.77.0.9"}}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(hosts.Command{Name: "dns", Path: "/proc/self/exe", Args: []string{"serve", string(text)}, Log: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(time.Second) })
	on := target.Component{Name: "dns", Kind: "dns", Addr: host.Addr, Socket: c.Socket, Ports: map[string]int{"dns": target.PortDNS},
		Handles: target.Handles{Network: host.Network()}}
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool { return on.Healthy(t.Context()) == nil }); err != nil {
		t.Fatal(err)
	}
	injectortest.Run(t, injectortest.Case{Kind: "nxdomain", New: nxdomain, On: on, Wrong: target.Component{Name: "origin", Kind: "origin"},
		State: func() (any, error) { return target.HasBeenTold[target.Answers](t.Context(), on, "dns") }})
	for _, answer := range []string{"servfail", "slow", "stale"} {
		f := &DNS{Answer: answer, Name: "redis", By: unit.Duration(100 * time.Millisecond)}
		if err := f.Check(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		if err := f.Inject(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		if m, err := f.Effect(t.Context(), on); err != nil || !m.Bites {
			t.Errorf("%s: %+v, %v", answer, m, err)
		}
		other := &DNS{Answer: answer, Name: "dns", By: f.By}
		if m, err := other.Effect(t.Context(), on); err != nil || m.Bites {
			t.Errorf("%s: a name that is not hit: %+v, %v", answer, m, err)
		}
		if err := f.Restore(t.Context(), on, injectors.Original(`{}`)); err != nil {
			t.Fatal(err)
		}
		if m, err := f.Effect(t.Context(), on); err != nil || !m.Clean {
			t.Errorf("after %s: %+v, %v", answer, m, err)
		}
	}
	if err := (&DNS{Answer: "stale", Name: "nowhere", By: unit.Duration(time.Second)}).Check(t.Context(), on); err == nil {
		t.Error("a name that the server does not know is taken")
	}
}
