package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/edge"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"edge": edge.Serve})
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{"expiry": over})

func over() injectors.Fault { return &Expiry{} }

// anEdge is a real edge, nginx and all, whose origin does not answer.
func anEdge(t *testing.T) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("nginx is not on this machine")
	}
	text, root, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	on, _ := hoststest.Component(t, r, target.Config{Name: "edge-north", Kind: "edge", Peers: map[string]string{"origin:8080": "127.0.0.1:1"},
		Secrets: target.Secrets{Authority: text}}, map[string]int{"https": target.PortHTTPS})
	on.Handles.TLS = &target.TLS{Root: root}
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

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/^is") }
