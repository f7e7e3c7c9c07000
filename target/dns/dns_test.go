package dns

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target"
)

// TestAnswers asks the server as a resolver does, rightly and wrongly, and with Go's own resolver.
func TestAnswers(t *testing.T) {
	const addr = "127.0.0.53"
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	on := target.Component{Name: "dns", Kind: "dns", Socket: filepath.Join(t.TempDir(), "s")}
	c := target.Config{Name: "dns", Listen: addr, Socket: on.Socket, Names: map[string]string{"gateway": "10.77.0.4", "redis": "10.77.0.3"}}
	go func() { ended <- Serve(ctx, c) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !t.Skipped() {
			t.Error(err)
		}
	})
	if err := target.WaitUntil(ctx, 5*time.Second, func() bool { return on.Healthy(ctx) == nil || len(ended) > 0 }); err != nil || len(ended) > 0 {
		t.Skipf("port 53 of %s is not to be had: %v", addr, err)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(addr, "53"))
	}
	ask := func(network, name string) (int, string, time.Duration) {
		t.Helper()
		conn, err := dial(ctx, network, "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		code, got, took, err := Ask(ctx, conn, name, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return code, got, took
	}
	for _, network := range []string{"udp4", "tcp4"} {
		if code, got, _ := ask(network, "GateWay"); code != 0 || got != "10.77.0.4" {
			t.Errorf("%s: code %d, address %q", network, code, got)
		}
		if code, got, _ := ask(network, "nowhere"); code != 3 || got != "" {
			t.Errorf("%s: a name that is not there has code %d, address %q", network, code, got)
		}
	}
	own := &net.Resolver{PreferGo: true, Dial: dial}
	if got, err := own.LookupHost(ctx, "gateway."); err != nil || len(got) != 1 || got[0] != "10.77.0.4" {
		t.Errorf("Go's resolver finds %v (%v)", got, err)
	}
	for _, c := range []struct {
		told target.Answers
		code int
		addr string
		slow time.Duration
	}{
		{target.Answers{Code: 3}, 3, "", 0},
		{target.Answers{Code: 2, Name: "gateway"}, 2, "", 0},
		{target.Answers{Code: 2, Name: "redis"}, 0, "10.77.0.4", 0},
		{target.Answers{Stale: "10.77.0.254"}, 0, "10.77.0.254", 0},
		{target.Answers{Slow: 200 * time.Millisecond}, 0, "10.77.0.4", 200 * time.Millisecond},
		{target.Answers{}, 0, "10.77.0.4", 0},
	} {
		if err := target.Tell(ctx, on, "dns", c.told); err != nil {
			t.Fatal(err)
		}
		if code, got, took := ask("udp4", "gateway"); code != c.code || got != c.addr || took < c.slow {
			t.Errorf("%+v: code %d, address %q after %s", c.told, code, got, took)
		}
	}
}
