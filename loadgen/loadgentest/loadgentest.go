// Package loadgentest is what every kind of load must hold, whatever the platform does to it: it ends with its plan, it ends
// at once with its context, it leaves no goroutine behind, it never panics or hangs, and what its clients suffer is counted.
package loadgentest

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// plan is how long the loads of these tests last.
const plan = time.Second

// patience is how long a load may take beyond its plan: the settling of its last answers and one time-out.
const patience = 12 * time.Second

// Run tries the promises. make gives small settings of the kind; cache is a directory with the camera's clips.
func Run(t *testing.T, make func() loadgen.Generator, cache string) {
	for _, s := range []struct {
		name   string
		server func(net.Conn)
	}{
		{"nobody listens", nil},
		{"a server that says nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{"a server that hangs up", func(net.Conn) {}},
		{"a server that talks nonsense", func(c net.Conn) { _, _ = c.Write([]byte("\x03nonsense\r\n\r\n\x00\xff")) }},
		{"a server that answers 500", func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
		}},
		{"a dispatch to servers that talk nonsense", func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 63\r\nConnection: close\r\n\r\n" +
				`{"edge":"edge-north","danmaku":"danmaku-a","ingest":"ingest-a"}`))
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			on, stop := platform(t, s.server)
			defer stop()
			m := meter(on, cache)
			ctx, cancel := context.WithTimeout(t.Context(), plan+patience)
			defer cancel()
			start := time.Now()
			err := make().Run(ctx, on, m)
			if ctx.Err() != nil {
				t.Errorf("it was still running %s after its plan", time.Since(start)-plan)
			}
			if offered := value(t, m, "livedrill_load_offered_total"); err == nil && offered == 0 {
				t.Error("it returned no error and offered nothing")
			}
			if n := failed(t, m)[loadgen.Otherwise]; n > 0 {
				t.Errorf("why %g arrivals failed is not said: %v", n, failed(t, m))
			}
		})
	}
	t.Run("ends with its context", func(t *testing.T) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		on, stop := platform(t, nil)
		defer stop()
		m := meter(on, cache)
		m.For = unit.Duration(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		_ = make().Run(ctx, on, m) // a load that could not begin may say so
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func meter(on target.Platform, cache string) *loadgen.Meter {
	return loadgen.NewMeter(loadgen.Spec{Name: "test", Region: "north", Slice: loadgen.Whole, Seed: 1, Start: time.Now().Add(100 * time.Millisecond),
		For: unit.Duration(plan), Platform: on, Cache: cache})
}

// platform is one whose every component is the same server.
func platform(t *testing.T, serve func(net.Conn)) (target.Platform, func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	done := make(chan struct{})
	if serve == nil {
		l.Close()
		close(done)
	} else {
		go accept(l, serve, done)
	}
	ports := map[string]int{"http": port, "rtmp": port, "ws": port}
	var on target.Platform
	for _, name := range []string{"gateway", "edge-north", "edge-south", "danmaku-a", "danmaku-b", "ingest-a", "ingest-b"} {
		on.Components = append(on.Components, target.Component{Name: name, Addr: "127.0.0.1", Ports: ports})
	}
	return on, func() {
		l.Close()
		<-done
		http.DefaultClient.CloseIdleConnections()
	}
}

func accept(l net.Listener, serve func(net.Conn), done chan struct{}) {
	defer close(done)
	var open []net.Conn
	ends := make(chan struct{})
	n := 0
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		open = append(open, c)
		n++
		go func() {
			defer func() { ends <- struct{}{} }()
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			buf := make([]byte, 1)
			if _, err := c.Read(buf); err == nil { // answer only what was asked
				serve(c)
			}
		}()
	}
	for _, c := range open {
		_ = c.Close()
	}
	for range n {
		<-ends
	}
}

// failed are the failed arrivals by why.
func failed(t *testing.T, m *loadgen.Meter) map[string]float64 {
	t.Helper()
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.Metric {
			for _, l := range metric.Label {
				if f.GetName() == "livedrill_load_failed_total" && l.GetName() == "reason" && counter(metric) > 0 {
					out[l.GetValue()] += counter(metric)
				}
			}
		}
	}
	return out
}

// value adds a counter up over its labels.
func value(t *testing.T, m *loadgen.Meter, name string) (sum float64) {
	t.Helper()
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, metric := range f.Metric {
				sum += counter(metric)
			}
		}
	}
	return sum
}

func counter(m *dto.Metric) float64 { return m.GetCounter().GetValue() }
