// Package hls watches live streams as HLS players do: playlists, segments, a buffer that stalls, another edge when the
// platform says so. What arrives is taken apart down to the stamps in the frames.
package hls

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Load is a house of viewers. One who leaves makes room for the next.
type Load struct {
	Viewers  int           `json:"viewers" help:"viewers at once"`
	Channels string        `json:"channels" help:"load whose streams are watched"`
	Streams  int           `json:"streams" help:"number of that load's streams"`
	Stay     unit.Duration `json:"stay" help:"mean time that a viewer watches"`
	Low      unit.Ratio    `json:"low" help:"share of viewers who take the lowest rendition"`
	Stall    unit.Duration `json:"stall" help:"shortest gap that counts as a stall"`
	Patience unit.Duration `json:"patience" help:"time without a picture after which a viewer leaves"`
}

// Default is ten viewers.
func Default() loadgen.Generator {
	return &Load{Viewers: 10, Channels: "streamers", Streams: 1, Stay: unit.Duration(20 * time.Second), Low: 0.3,
		Stall: unit.Duration(500 * time.Millisecond), Patience: unit.Duration(15 * time.Second)}
}

// Validate finds settings that cannot work.
func (l *Load) Validate() error {
	var errs []error
	if l.Viewers < 1 || l.Viewers > 100_000 {
		errs = append(errs, fmt.Errorf("viewers: %d is not between 1 and 100000", l.Viewers))
	}
	if l.Streams < 1 {
		errs = append(errs, fmt.Errorf("streams: %d is below 1", l.Streams))
	}
	if time.Duration(l.Stay) < time.Second {
		errs = append(errs, fmt.Errorf("stay: %s is below 1s", l.Stay))
	}
	return errors.Join(errs...)
}

// numbers are the metrics of one worker's viewers.
type numbers struct {
	begun, dropped    prometheus.Counter
	starts            map[string]prometheus.Counter
	first, delay      *record.Histogram
	segment           *record.Histogram
	bytes, broken     prometheus.Counter
	stalls, moves     prometheus.Counter
	ended, hurt       prometheus.Counter
	watched, stalled  atomic.Int64 // nanoseconds
	frames, unstamped prometheus.Counter
}

func newNumbers(m *loadgen.Meter) *numbers {
	n := &numbers{starts: map[string]prometheus.Counter{},
		begun:     m.Counter("livedrill_sessions_begun_total", "Sessions that began.", m.Labels("role", "viewer")),
		dropped:   m.Counter("livedrill_sessions_dropped_total", "Sessions ended by anything but their own plan.", m.Labels("role", "viewer")),
		first:     m.Histogram("livedrill_first_frame_seconds", "From before connecting to the end of the first key frame's segment.", m.Labels("protocol", "hls")),
		delay:     m.Histogram("livedrill_e2e_latency_seconds", "Arrival of a frame at the viewer after the send time in its stamp.", m.Labels("protocol", "hls")),
		segment:   m.Histogram("livedrill_segment_fetch_seconds", "Time to fetch a segment.", m.Labels()),
		bytes:     m.Counter("livedrill_player_received_bytes_total", "Segments received.", m.Labels()),
		broken:    m.Counter("livedrill_player_broken_packets_total", "MPEG-TS packets out of sync.", m.Labels()),
		stalls:    m.Counter("livedrill_player_stalls_total", "Gaps that count as a stall.", m.Labels()),
		ended:     m.Counter("livedrill_viewings_total", "Viewers' sessions that ended.", m.Labels()),
		hurt:      m.Counter("livedrill_viewings_stalled_total", "Of these, the ones with at least one stall.", m.Labels()),
		moves:     m.Counter("livedrill_player_moves_total", "Times a viewer was moved to another edge.", m.Labels()),
		frames:    m.Counter("livedrill_player_frames_total", "Video frames received.", m.Labels()),
		unstamped: m.Counter("livedrill_player_unstamped_frames_total", "Video frames without a send time in them.", m.Labels()),
	}
	for _, r := range []string{"fast", "slow", "failed"} {
		n.starts[r] = m.Counter("livedrill_starts_total", "Sessions by whether the first picture came within 1 s.", m.Labels("result", r))
	}
	m.CounterFunc("livedrill_player_watched_seconds_total", "Time of all viewers before their players, waiting included.",
		m.Labels(), func() float64 { return time.Duration(n.watched.Load()).Seconds() })
	m.CounterFunc("livedrill_player_stalled_seconds_total", "Of that, the time in stalls and in long starts.",
		m.Labels(), func() float64 { return time.Duration(n.stalled.Load()).Seconds() })
	return n
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	ctx, cancel := context.WithDeadline(ctx, m.End())
	defer cancel()
	h := &house{Load: l, on: on, m: m, n: newNumbers(m), watching: map[*viewer]struct{}{},
		// One transport for what all viewers ask the gateway; each viewer has one of its own for media.
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	defer h.client.CloseIdleConnections()
	rng := m.Rand()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range l.Viewers {
		seat := seat{number: i, rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))}
		if m.Slice.Mine(i, l.Viewers) {
			wg.Go(func() { h.fill(ctx, seat) })
		}
	}
	wg.Go(func() { h.account(ctx) })
	return nil
}

// house is all viewers of one worker.
type house struct {
	*Load
	on       target.Platform
	m        *loadgen.Meter
	n        *numbers
	client   *http.Client
	mu       sync.Mutex
	watching map[*viewer]struct{}
}

// seat is a place in the house, filled by one viewer after another.
type seat struct {
	number int
	rng    *rand.Rand
}

// fill seats one viewer after another until ctx ends.
func (h *house) fill(ctx context.Context, s seat) {
	// The house fills within the first three seconds.
	due := h.m.Start.Add(time.Duration(s.rng.Float64() * 3 * float64(time.Second)))
	for target.Wait(ctx, time.Until(due)) {
		stay := time.Duration((0.5 + s.rng.Float64()) * float64(h.Stay))
		v := h.newViewer(s)
		h.m.Offered.Inc()
		h.m.Achieved.Inc()
		h.seatViewer(v, true)
		h.m.Late.Observe(time.Since(due).Seconds())
		err := v.watch(ctx, stay)
		if due = time.Now(); err != nil {
			h.m.Failed.Inc()
			due = due.Add(500 * time.Millisecond)
		}
		h.seatViewer(v, false)
	}
}

func (h *house) seatViewer(v *viewer, in bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if in {
		h.watching[v] = struct{}{}
		return
	}
	h.count(v, time.Now())
	delete(h.watching, v)
	if h.n.ended.Inc(); v.stalls > 0 {
		h.n.hurt.Inc()
	}
}

// account keeps the sums of watched and stalled time up to date, so that they are right at any boundary of the run.
func (h *house) account(ctx context.Context) {
	for target.Wait(ctx, 100*time.Millisecond) {
		now := time.Now()
		h.mu.Lock()
		for v := range h.watching {
			h.count(v, now)
		}
		h.mu.Unlock()
	}
}

// count adds what is new in a viewer's account. h.mu is held.
func (h *house) count(v *viewer, now time.Time) {
	watched, stalled, stalls := v.player.totals(now)
	h.n.watched.Add(int64(watched - v.watched))
	h.n.stalled.Add(int64(stalled - v.stalled))
	h.n.stalls.Add(float64(stalls - v.stalls))
	v.watched, v.stalled, v.stalls = watched, stalled, stalls
}
