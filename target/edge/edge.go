// Package edge is the CDN node of a region: nginx as the caching proxy for HLS, and beside it a relay that pulls each FLV
// stream once and fans it out, as HTTP-FLV, RTMP and WebRTC. What nginx answered from its cache is counted from its own access log.
package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/rtc"
	"github.com/livedrill/livedrill/target/rtmp"
)

// logPort is where the access log goes, on the edge's own loopback.
const logPort = 5140

// probeSize is the size of the object by which dispatch measures an edge: as much as a second of video.
const probeSize = 100 << 10

// Serve runs the edge until ctx ends.
func Serve(ctx context.Context, c target.Config) error {
	metrics := record.NewMetrics()
	identity, err := target.NewIdentity(c, metrics)
	if err != nil {
		return err
	}
	if err := prepare(c, identity); err != nil {
		return err
	}
	restarts := metrics.Counter("livedrill_component_restarts_total", "Times the server was started again.", nil)
	log, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: logPort})
	if err != nil {
		return fmt.Errorf("%s: access log: %w", c.Name, err)
	}
	counts := newCounts(metrics)
	peers, err := rtc.NewPeers(c.Bind(target.PortMedia), false)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	peers.Outside = c.Outside
	defer peers.Close()
	relay := newRelay(c, metrics, peers)
	defer relay.close()
	nginx := target.Program{Path: "nginx", Args: []string{"-c", filepath.Join(c.Dir, "nginx.conf"), "-p", c.Dir, "-e", "stderr"},
		Output: os.Stderr, Grace: 2 * time.Second}
	var master atomic.Int64
	nginx.Started = func(pid int) { master.Store(int64(pid)) }
	nginx.Ended = func(*os.ProcessState) { master.Store(0) }
	identity.Changed = func() {
		err := showIdentity(c, identity)
		if pid := int(master.Load()); err == nil && pid > 0 {
			err = syscall.Kill(pid, syscall.SIGHUP) // nginx reads its configuration again, and the certificate with it
		}
		if err != nil {
			slog.Error("certificate", "err", err)
		}
	}
	inner := http.NewServeMux()
	if err := identity.Handle(inner); err != nil {
		return err
	}
	healthy := func(ctx context.Context) error {
		return get(ctx, "http://"+c.Bind(target.PortHTTP)+"/health")
	}
	front, err := c.Open(target.PortRelay)
	if err != nil {
		return err
	}
	players, err := c.Open(target.PortRTMP)
	if err != nil {
		return err
	}
	return target.Together(ctx,
		func(ctx context.Context) error { return rtmp.Serve(ctx, players, rtmpLimit, relay.rtmp) },
		func(ctx context.Context) error {
			return nginx.Keep(ctx, func(err error) {
				slog.Error("nginx ended", "err", err)
				restarts.Inc()
			})
		},
		func(ctx context.Context) error { return counts.read(ctx, log) },
		func(ctx context.Context) error { return record.ServeHTTP(ctx, front, relay.handler(ctx)) },
		func(ctx context.Context) error { return metrics.Serve(ctx, c.Socket, inner, healthy) })
}

func prepare(c target.Config, identity *target.Identity) error {
	for _, dir := range []string{"cache", "tmp", "www"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o755); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "www", "probe"), make([]byte, probeSize), 0o644); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "nginx.conf"), []byte(Conf(c)), 0o644); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return showIdentity(c, identity)
}

// showIdentity puts the certificate and its key where nginx reads them, both at once.
func showIdentity(c target.Config, identity *target.Identity) error {
	file := filepath.Join(c.Dir, "edge.pem")
	if err := os.WriteFile(file+".new", identity.PEM(), 0o600); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return os.Rename(file+".new", file)
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// counts are nginx's answers by what its cache did.
type counts struct {
	by    map[string]prometheus.Counter
	other prometheus.Counter
	bytes prometheus.Counter
}

func newCounts(m *record.Metrics) *counts {
	return &counts{
		by: m.Counters("livedrill_edge_requests_total", "Requests for HLS by what the cache did.", "cache",
			"HIT", "MISS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED", "BYPASS"),
		other: m.Counter("livedrill_edge_requests_total", "Requests for HLS by what the cache did.", prometheus.Labels{"cache": "none"}),
		bytes: m.Counter("livedrill_edge_sent_bytes_total", "Bytes sent to viewers by nginx.", nil),
	}
}

// read counts the lines of the access log: "<priority>time tag: STATUS CODE BYTES".
func (c *counts) read(ctx context.Context, log *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { log.Close() })
	defer stop()
	buf := make([]byte, 2048)
	for {
		n, err := log.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("access log: %w", err)
		}
		c.line(string(buf[:n]))
	}
}

func (c *counts) line(line string) {
	_, rest, ok := strings.Cut(line, "edge: ")
	fields := strings.Fields(rest)
	if !ok || len(fields) != 3 {
		return
	}
	counter, known := c.by[fields[0]]
	if !known {
		counter = c.other
	}
	counter.Inc()
	if n, err := strconv.ParseFloat(fields[2], 64); err == nil && n >= 0 {
		c.bytes.Add(n)
	}
}
