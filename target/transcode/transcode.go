// Package transcode turns each stream into a ladder of renditions with one real ffmpeg per stream, and measures by the
// stamps in the video how long a frame takes through it.
package transcode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v3/process"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// server is the component: all streams that are being transcoded.
type server struct {
	config  target.Config
	encoder string
	numbers numbers
	traces  *record.Traces
	client  *http.Client // streaming: no time limit of its own
	mu      sync.Mutex
	streams map[string]*stream
	ended   map[string]float64  // media and CPU time of encoders that have ended
	most    target.EncoderState // that was ever read
	card    sessions
	wg      sync.WaitGroup
}

// numbers are the metrics of all streams together.
type numbers struct {
	in, through, out *record.Histogram
	restarts         prometheus.Counter
	sheds            prometheus.Counter
	refused          prometheus.Counter
}

// Serve runs the transcoder until ctx ends.
func Serve(ctx context.Context, c target.Config) (err error) {
	encoder, err := ChooseEncoder(ctx, c.Encoder)
	if err != nil {
		return err
	}
	kept, err := record.OpenTraces(c.Traces, c.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close(ctx)) }()
	metrics := record.NewMetrics()
	s := &server{config: c, encoder: encoder, traces: kept, client: &http.Client{}, streams: map[string]*stream{}, ended: map[string]float64{},
		numbers: numbers{
			in:       metrics.Histogram("livedrill_transcode_input_delay_seconds", "Age of a frame, by its stamp, when it arrives.", nil),
			through:  metrics.Histogram("livedrill_transcode_delay_seconds", "Time of a frame through the transcoder, by its stamp.", nil),
			out:      metrics.Histogram("livedrill_transcode_output_delay_seconds", "Age of a frame, by its stamp, when it goes on to the origin.", nil),
			restarts: metrics.Counter("livedrill_transcode_restarts_total", "Encoders started again.", nil),
			sheds:    metrics.Counter("livedrill_transcode_sheds_total", "Times a stream gave up its renditions.", nil),
			refused:  metrics.Counter("livedrill_transcode_sessions_refused_total", "Encoders that the card's driver refused or ended.", nil),
		}}
	s.gauges(metrics)
	defer s.client.CloseIdleConnections()
	defer s.wg.Wait()

	mux := http.NewServeMux()
	mux.HandleFunc("PUT /streams/{channel}", func(w http.ResponseWriter, r *http.Request) { s.add(ctx, w, r) })
	mux.HandleFunc("DELETE /streams/{channel}", s.remove)
	mux.HandleFunc("GET /sound/{channel}", s.listen)
	inner := http.NewServeMux()
	orders := target.Told[target.Sessions]{Changed: s.card.limit}
	if err := orders.Handle(inner, c.Socket); err != nil {
		return err
	}
	inner.HandleFunc("GET /encoders", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(s.state()) // the reader has gone: nothing to do
	})
	front, err := c.Open(target.PortHTTP)
	if err != nil {
		return err
	}
	return target.Together(ctx,
		func(ctx context.Context) error { return record.ServeHTTP(ctx, front, mux) },
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, inner, func(context.Context) error { return nil })
		})
}

// ChooseEncoder takes the card where one can really encode, else the processor.
func ChooseEncoder(ctx context.Context, want string) (string, error) {
	if want != "" {
		return want, nil
	}
	if _, err := os.Stat("/dev/nvidia0"); err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		try := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=size=256x256:duration=0.1", "-c:v",
			"h264_nvenc", "-f", "null", "-")
		if try.Run() == nil {
			return "h264_nvenc", nil
		}
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return "", fmt.Errorf("transcode: %w", err)
	}
	return "libx264", nil
}

func (s *server) gauges(m *record.Metrics) {
	m.GaugeFunc("livedrill_transcode_streams", "Streams that are being transcoded.", nil, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(len(s.streams))
	})
	m.GaugeFunc("livedrill_transcode_backlog_seconds", "Media time that the slowest encoder is behind its input.", nil,
		func() float64 {
			worst := 0.0
			for _, st := range s.all() {
				worst = max(worst, st.backlog().Seconds())
			}
			return worst
		})
	m.GaugeFunc("livedrill_transcode_renditions", "Renditions that are being encoded; the others pass the source on.", nil,
		func() float64 {
			n := 0
			for _, st := range s.all() {
				n += st.renditions()
			}
			return float64(n)
		})
	m.CounterFunc("livedrill_transcode_media_total", "Media time encoded, in seconds: its rate per stream is the encoder's speed.",
		nil, func() float64 { return s.state().Media })
	m.CounterFunc("livedrill_transcode_encoder_cpu_seconds_total", "CPU time of all encoders.", nil,
		func() float64 { return s.state().CPU })
}

func (s *server) all() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		out = append(out, st)
	}
	return out
}

// overloaded tells whether a stream rests because its encoder was too slow: then one more would be too.
func (s *server) overloaded() bool {
	for _, st := range s.all() {
		if st.rests() {
			return true
		}
	}
	return false
}

// state reads all encoders.
func (s *server) state() target.EncoderState {
	s.mu.Lock()
	out := target.EncoderState{CPU: s.ended["cpu"], Media: s.ended["media"], Input: s.ended["input"]}
	s.mu.Unlock()
	for _, st := range s.all() {
		pid, media, input := st.progress()
		out.Media += media
		out.Input += input
		if pid == 0 {
			continue
		}
		out.PIDs = append(out.PIDs, pid)
		out.CPU += cpuOf(pid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range []struct{ most, now *float64 }{{&s.most.CPU, &out.CPU}, {&s.most.Media, &out.Media}, {&s.most.Input, &out.Input}} {
		*v.most = max(*v.most, *v.now) // an encoder that is just ending is in neither sum: a counter never falls
		*v.now = *v.most
	}
	return out
}

func cpuOf(pid int) float64 {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return 0
	}
	times, err := p.Times()
	if err != nil {
		return 0
	}
	return times.User + times.System
}

// retire adds what an encoder had done when it ended.
func (s *server) retire(key string, seconds float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended[key] += seconds
}

func (s *server) add(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	source, ok := named(w, r)
	if !ok {
		return
	}
	channel := r.PathValue("channel")
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.streams[channel]; old != nil {
		if old.source == source { // it is known already
			return
		}
		old.cancel()
	}
	streamCtx, cancel := context.WithCancel(ctx)
	st := newStream(s, channel, source, cancel)
	s.streams[channel] = st
	s.wg.Go(func() {
		st.run(streamCtx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.streams[channel] == st {
			delete(s.streams, channel)
		}
		_, media, input := st.progress()
		s.ended["media"] += media
		s.ended["input"] += input
	})
}

// remove ends a stream, if it is still from that source: a publisher may have gone on at another ingest.
func (s *server) remove(w http.ResponseWriter, r *http.Request) {
	source, ok := named(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[r.PathValue("channel")]; st != nil && st.source == source {
		st.cancel()
	}
}

// named reads the source that an order is about.
func named(w http.ResponseWriter, r *http.Request) (source string, ok bool) {
	var order struct{ Source string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&order); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return "", false
	}
	return order.Source, true
}

// listen answers with a stream's sound as Opus.
func (s *server) listen(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	st := s.streams[r.PathValue("channel")]
	s.mu.Unlock()
	if st == nil {
		http.NotFound(w, r)
		return
	}
	st.sound.serve(w, r)
}
