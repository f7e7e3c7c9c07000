package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"github.com/valyala/fasthttp"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// server answers everything with what handle says, and gives its address.
func server(t testing.TB, handle fasthttp.RequestHandler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fasthttp.Server{Handler: handle, CloseOnShutdown: true, IdleTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Second)
		defer cancel()
		if err := s.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		<-done
	})
	return "http://" + l.Addr().String()
}

// play runs a load against a server of the test's own, and returns its numbers by route and outcome.
func play(t *testing.T, l *Load, slice loadgen.Slice) map[string]float64 {
	t.Helper()
	return playOn(t, l, slice, target.Platform{})
}

func playOn(t *testing.T, l *Load, slice loadgen.Slice, on target.Platform) map[string]float64 {
	t.Helper()
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	m := loadgen.NewMeter(loadgen.Spec{Name: "test", Slice: slice, Seed: 1, Start: time.Now().Add(50 * time.Millisecond), For: unit.Duration(time.Second)})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if err := l.Run(ctx, on, m); err != nil {
		t.Fatal(err)
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "livedrill_")
			for _, label := range metric.Label {
				if label.GetName() == "outcome" || label.GetName() == "reason" {
					name += " " + label.GetValue()
				}
			}
			out[name] += metric.GetCounter().GetValue()
		}
	}
	return out
}

// TestEngines sends the same load with both, to a server that is kind, rude, or cuts connections off.
func TestEngines(t *testing.T) {
	for _, engine := range []string{"vegeta", "pool"} {
		for _, c := range []struct {
			name, outcome string
			handle        fasthttp.RequestHandler
		}{
			{"200", "ok", func(r *fasthttp.RequestCtx) { r.SetBodyString("fine") }},
			{"429", "refused", func(r *fasthttp.RequestCtx) { r.SetStatusCode(429) }},
			{"503", "error", func(r *fasthttp.RequestCtx) { r.SetStatusCode(503) }},
			{"a close after each answer", "ok", func(r *fasthttp.RequestCtx) { r.SetConnectionClose() }},
			{"a reset", "error", func(r *fasthttp.RequestCtx) { r.Conn().(*net.TCPConn).SetLinger(0); r.Conn().Close() }},
			{"a body without an end", "error", func(r *fasthttp.RequestCtx) {
				r.HijackSetNoResponse(true)
				r.Hijack(func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"); c.Close() })
			}},
		} {
			t.Run(engine+"/"+c.name, func(t *testing.T) {
				l := Default().(*Load)
				l.Engine, l.URL, l.Rate = engine, server(t, c.handle)+"/x", loadgen.Constant(200)
				got := play(t, l, loadgen.Whole)
				if got["load_offered_total"] != 200 || got["load_achieved_total"] != 200 || got["api_requests_total "+c.outcome] != 200 {
					t.Errorf("%v, want 200 of outcome %q", got, c.outcome)
				}
			})
		}
	}
}

// TestSegmentsMakeTheWhole plays a load in three parts and at once: the same requests, one by one.
func TestSegmentsMakeTheWhole(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	base := server(t, func(r *fasthttp.RequestCtx) {
		mu.Lock()
		defer mu.Unlock()
		seen[string(r.Path())]++
	})
	file := filepath.Join(t.TempDir(), "targets")
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "GET %s/%d\n", base, i)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"vegeta", "pool"} {
		mu.Lock() // what a socket carries orders nothing for the race detector
		clear(seen)
		mu.Unlock()
		for i := range 3 {
			l := Default().(*Load)
			l.Engine, l.Targets, l.Rate = engine, file, loadgen.Constant(500)
			play(t, l, loadgen.Slice{To: 1, Index: i, Count: 3})
		}
		mu.Lock()
		if len(seen) != 500 {
			t.Errorf("%s: %d of 500 requests were made", engine, len(seen))
		}
		for path, n := range seen {
			if n != 1 {
				t.Errorf("%s: %s was made %d times", engine, path, n)
			}
		}
		mu.Unlock()
	}
}

// TestResults writes what vegeta itself can read.
func TestResults(t *testing.T) {
	l := Default().(*Load)
	l.URL, l.Rate, l.Results = server(t, func(*fasthttp.RequestCtx) {}), loadgen.Constant(50), filepath.Join(t.TempDir(), "results.bin")
	play(t, l, loadgen.Whole)
	file, err := os.Open(l.Results)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decode := vegeta.NewDecoder(file)
	var metrics vegeta.Metrics
	for {
		var r vegeta.Result
		if decode(&r) != nil {
			break
		}
		metrics.Add(&r)
	}
	if metrics.Close(); metrics.Requests != 50 || metrics.Success != 1 {
		t.Errorf("%d requests, %g of them good", metrics.Requests, metrics.Success)
	}
}

// TestBadTargets refuses what is no request, and servers that are not the user's own.
func TestBadTargets(t *testing.T) {
	for text, want := range map[string]string{"": "no targets", "nonsense": "bad", "GET http://10.0.0.1/x\n": "not on loopback", "GET ftp://127.0.0.1/\n": "does not begin with http"} {
		file := filepath.Join(t.TempDir(), "targets")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := Default().(*Load)
		l.Targets = file
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzTargets(f *testing.F) {
	f.Add("GET http://127.0.0.1/x\nX-A: b\n")
	f.Add(`{"method":"GET","url":"http://127.0.0.1/"}`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(dir, "targets")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = readTargets(file)
	})
}
