package tls

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/edge"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		var c target.Config
		err := json.Unmarshal([]byte(os.Args[2]), &c)
		if err == nil {
			err = edge.Serve(context.Background(), c)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	injectortest.Victim(map[string]func() injectors.Fault{"expiry": over})
	hoststest.Main(m)
}

func over() injectors.Fault { return &Expiry{} }

// anEdge is a real edge, nginx and all, whose origin does not answer.
func anEdge(t *testing.T) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("nginx is not on this machine")
	}
	text, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := target.ReadAuthority(text)
	if err != nil {
		t.Fatal(err)
	}
	host, err := r.AddHost("edge-north")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ld") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := target.Config{Name: host.Name, Kind: "edge", Listen: host.Addr, Dir: dir, Socket: filepath.Join(dir, "s"),
		Peers: map[string]string{"origin:8080": "127.0.0.1:1"}, Secrets: target.Secrets{Authority: text}}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(hosts.Command{Name: host.Name, Path: "/proc/self/exe", Args: []string{"serve", string(config)}, Log: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	on := target.Component{Name: host.Name, Kind: "edge", Addr: host.Addr, Socket: c.Socket, Ports: map[string]int{"https": target.PortHTTPS},
		Handles: target.Handles{Network: host.Network(), TLS: &target.TLS{Root: authority.Root()}}}
	if err := target.WaitUntil(t.Context(), 30*time.Second, func() bool { return on.Healthy(t.Context()) == nil }); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v\n%s", err, log)
	}
	return on
}

func TestConformance(t *testing.T) {
	on := anEdge(t)
	injectortest.Run(t, injectortest.Case{Kind: "expiry", New: over, On: on, Wrong: target.Component{Name: "origin", Kind: "origin", Socket: on.Socket},
		State: func() (any, error) { return target.HasBeenTold[target.Certificate](t.Context(), on, "edge") }})

	t.Run("with time left nobody is refused", func(t *testing.T) {
		f := &Expiry{Left: unit.Duration(72 * time.Hour)}
		was, err := f.Save(t.Context(), on)
		if err == nil {
			err = f.Inject(t.Context(), on)
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := f.Effect(t.Context(), on)
		if err != nil || !m.Bites || m.Clean || m.Is["refused_ratio"] != 0 {
			t.Errorf("%+v, %v", m, err)
		}
		if err := f.Restore(t.Context(), on, was); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("nobody is let in with less than TLS 1.3", func(t *testing.T) {
		addr, err := on.HostPort("https")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := clients.DialFrom(on)(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		old := tls.Client(conn, &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true})
		var alert *net.OpError
		if err := old.HandshakeContext(t.Context()); !errors.As(err, &alert) {
			t.Errorf("a client of TLS 1.2 is answered with %v", err)
		}
	})
}
