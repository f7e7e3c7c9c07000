package audience

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
)

// Numbers are the metrics of one worker's viewers.
type Numbers struct {
	First *record.Histogram  // to the first picture
	Moves prometheus.Counter // to another edge

	phases                   map[string]*record.Histogram // of the way to it
	begun, dropped           prometheus.Counter
	starts                   map[string]prometheus.Counter
	stalls, ended, hurt      prometheus.Counter
	watched, stalled, denied atomic.Int64 // nanoseconds; denied is what was left of the plan of those who gave up
	delay                    *record.Histogram
	skew                     *record.Histogram
	gaps                     prometheus.Counter
	bytes, frames, unstamped prometheus.Counter
}

func newNumbers(m *loadgen.Meter, protocol string) *Numbers {
	n := &Numbers{starts: map[string]prometheus.Counter{}, phases: phaseHistograms(m, protocol),
		begun:     m.Counter("livedrill_sessions_begun_total", "Sessions that began.", m.Labels("role", "viewer")),
		dropped:   m.Counter("livedrill_sessions_dropped_total", "Sessions ended by anything but their own plan.", m.Labels("role", "viewer")),
		First:     m.Histogram("livedrill_first_frame_seconds", "From before connecting to the end of the first key frame, or of its segment.", m.Labels("protocol", protocol)),
		delay:     m.Histogram("livedrill_e2e_latency_seconds", "Arrival of a frame at the viewer after the send time in its stamp.", m.Labels("protocol", protocol)),
		skew:      m.Histogram("livedrill_av_skew_seconds", "How far sound and picture are apart that belong together, by time stamps and send times; either way.", m.Labels("protocol", protocol)),
		gaps:      m.Counter("livedrill_player_pts_gaps_total", "Steps of the pictures' time stamps, within a connection, that go back or leave a gap.", m.Labels()),
		bytes:     m.Counter("livedrill_player_received_bytes_total", "Media received.", m.Labels()),
		stalls:    m.Counter("livedrill_player_stalls_total", "Gaps that count as a stall.", m.Labels()),
		ended:     m.Counter("livedrill_viewings_total", "Viewers' sessions that ended.", m.Labels()),
		hurt:      m.Counter("livedrill_viewings_stalled_total", "Of these, the ones with at least one stall.", m.Labels()),
		Moves:     m.Counter("livedrill_player_moves_total", "Times a viewer was moved to another edge.", m.Labels()),
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
	m.CounterFunc("livedrill_sessions_asked_seconds_total", "Time that viewers had come for: before their players, and what was left of the plan of those who gave up.",
		m.Labels(), func() float64 { return time.Duration(n.watched.Load() + n.denied.Load()).Seconds() })
	m.CounterFunc("livedrill_sessions_denied_seconds_total", "Of that, the time in stalls and in long starts, and what was left when they gave up.",
		m.Labels(), func() float64 { return time.Duration(n.stalled.Load() + n.denied.Load()).Seconds() })
	return n
}

// Received counts media.
func (n *Numbers) Received(bytes int) { n.bytes.Add(float64(bytes)) }
