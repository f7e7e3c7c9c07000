// Package targettest is what every component of the bundled platform must hold: it becomes healthy, it offers metrics that
// Prometheus can read, it ends when it is told to and leaves nothing running, and it can be started again.
package targettest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// Serve is a component's own function.
type Serve func(context.Context, target.Config) error

// healthLimit is how long a component may take to become healthy.
const healthLimit = 30 * time.Second

// Run tries the promises on a component, twice: the second time is its restart.
func Run(t *testing.T, serve Serve, c target.Config) {
	t.Helper()
	for _, round := range []string{"first start", "second start"} {
		t.Run(round, func(t *testing.T) {
			stop := Start(t, serve, c)
			checkMetrics(t, c)
			stop()
			if _, err := Get(t.Context(), c, "/health"); err == nil {
				t.Error("it still answers after its end")
			}
		})
	}
}

// Start starts a component and waits until it is healthy. The function it returns ends it and fails the test when that takes
// too long.
func Start(t *testing.T, serve Serve, c target.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, c) }()
	for deadline := time.Now().Add(healthLimit); ; {
		_, err := Get(ctx, c, "/health")
		if err == nil {
			break
		}
		select {
		case err := <-done:
			cancel()
			t.Fatalf("%s ended: %v", c.Name, err)
		default:
		}
		if time.Now().After(deadline) {
			cancel()
			t.Fatalf("%s is not healthy after %s: %v", c.Name, healthLimit, err)
		}
		target.Wait(ctx, 20*time.Millisecond)
	}
	return func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s ended with %v", c.Name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s does not end", c.Name)
		}
	}
}

func checkMetrics(t *testing.T, c target.Config) {
	t.Helper()
	body, err := Get(t.Context(), c, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if err != nil || len(families) < 3 {
		t.Errorf("%d families of metrics (%v)", len(families), err)
	}
}

// Get asks a component on its own socket.
func Get(ctx context.Context, c target.Config, path string) (io.ReadCloser, error) {
	client := record.Client(c.Socket)
	client.Timeout = 2 * time.Second
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://unix"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, errors.New(resp.Status)
	}
	return resp.Body, nil
}

// Config is a configuration for a test: everything on one address, all files in a directory of the test's own.
func Config(t *testing.T, name, kind, listen string, peers map[string]string) target.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "livedrill") // t.TempDir is too long for Unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	defences, err := target.ProfileDefences("hardened", nil)
	if err != nil {
		t.Fatal(err)
	}
	authority, root, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return target.Config{Name: name, Kind: kind, Region: "north", Socket: filepath.Join(dir, "s"), Dir: dir, Listen: listen, Defences: defences,
		Peers: peers, Secrets: target.Secrets{Token: "t", Stream: "s", Database: "d", Redis: "r", Authority: authority, Root: root}, Edges: []string{"edge-north"},
		Chats: []string{"danmaku-a"}, Ingests: []string{"ingest-a"}}
}
