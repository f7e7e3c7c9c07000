// Package hls watches live streams as HLS players do: playlists, segments, a buffer that stalls, another edge when the
// platform says so. What arrives is taken apart down to the stamps in the frames.
package hls

import (
	"context"
	"crypto/tls"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/audience"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Load is an audience.
type Load struct {
	audience.Settings
	Low unit.Ratio `json:"low" help:"share of viewers who take the lowest rendition"`
	TLS bool       `json:"tls" help:"over TLS 1.3 (https), with the platform's own certificates"`
}

// Default is ten viewers.
func Default() loadgen.Generator { return &Load{Settings: audience.Usual(), Low: 0.3} }

// Validate finds settings that cannot work.
func (l *Load) Validate() error { return l.Check("http", "https") }

// numbers are the metrics that only HLS has.
type numbers struct {
	segment *record.Histogram
	broken  prometheus.Counter
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	n := numbers{m.Histogram("livedrill_segment_fetch_seconds", "Time to fetch a segment.", m.Labels()),
		m.Counter("livedrill_player_broken_packets_total", "MPEG-TS packets out of sync.", m.Labels())}
	scheme := "http"
	var trust *tls.Config // nil: what this machine trusts, for a server of one's own
	if l.TLS && l.URL == "" {
		var err error
		if trust, err = on.Secrets.ClientTLS(); err != nil {
			return err
		}
		scheme = "https"
	}
	return l.Fill(ctx, on, m, "hls", func(*audience.House) audience.Watch {
		return func(ctx context.Context, s *audience.Session) error {
			return l.newViewer(s, n, scheme, trust).watch(ctx)
		}
	})
}
