// Package ingest is where streams come in: RTMP publish and play, and WHIP, with the stream's key checked by the gateway. It hands
// each stream to the transcoder, which fetches it as HTTP-FLV.
package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/rtc"
	"github.com/livedrill/livedrill/target/rtmp"
)

// tellEvery is how often the transcoder hears of every stream.
const tellEvery = 2 * time.Second

// idle is how long a publisher may send nothing.
const idle = 10 * time.Second

type server struct {
	config   target.Config
	tracer   trace.Tracer
	client   *http.Client
	mu       sync.Mutex
	streams  map[string]*flv.Hub
	tampers  target.Told[target.Tampering] // what is done to streams
	accepted prometheus.Counter
	refused  prometheus.Counter
	broken   prometheus.Counter
	bytes    prometheus.Counter
	peers    *rtc.Peers
	sessions rtc.Sessions
	calls    sync.WaitGroup // WebRTC publishers
}

// Serve runs the ingest until ctx ends.
func Serve(ctx context.Context, c target.Config) (err error) {
	metrics := record.NewMetrics()
	kept, err := record.OpenTraces(c.Traces, c.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close(ctx)) }()
	s := &server{config: c, tracer: kept.Provider().Tracer("ingest"), client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}, streams: map[string]*flv.Hub{},
		accepted: metrics.Counter("livedrill_ingest_publishes_total", "Publishers by what became of them.", prometheus.Labels{"result": "accepted"}),
		refused:  metrics.Counter("livedrill_ingest_publishes_total", "Publishers by what became of them.", prometheus.Labels{"result": "refused"}),
		broken:   metrics.Counter("livedrill_ingest_broken_total", "Streams that ended without a goodbye.", nil),
		bytes:    metrics.Counter("livedrill_ingest_received_bytes_total", "Media received.", nil)}
	defer s.client.CloseIdleConnections()
	metrics.GaugeFunc("livedrill_ingest_streams", "Streams that are being published.", nil, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(len(s.streams))
	})
	l, err := c.Open(target.PortRTMP)
	if err != nil {
		return err
	}
	if s.peers, err = rtc.NewPeers(c.Bind(target.PortMedia), false); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	s.peers.Outside = c.Outside
	defer s.peers.Close()
	defer s.calls.Wait()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live/{file}", s.pull)
	mux.HandleFunc("POST /whip/{key}", func(w http.ResponseWriter, r *http.Request) { s.whip(ctx, w, r) })
	mux.HandleFunc("OPTIONS /whip/{key}", func(w http.ResponseWriter, _ *http.Request) { rtc.Preflight(w) })
	mux.HandleFunc("OPTIONS /whip/{key}/{id}", func(w http.ResponseWriter, _ *http.Request) { rtc.Preflight(w) })
	mux.HandleFunc("DELETE /whip/{key}/{id}", func(w http.ResponseWriter, r *http.Request) { s.sessions.Delete(w, r, r.PathValue("id")) })
	inner := http.NewServeMux() // on the component's own socket: nobody on the network reaches it
	s.tampers.Changed = s.told
	if err := s.tampers.Handle(inner, c.Socket); err != nil {
		return err
	}

	front, err := c.Open(target.PortHTTP)
	if err != nil {
		return err
	}
	return target.Together(ctx,
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, inner, func(context.Context) error { return nil })
		},
		func(ctx context.Context) error { return record.ServeHTTP(ctx, front, mux) },
		func(ctx context.Context) error { return rtmp.Serve(ctx, l, idle, s.handle) })
}

func (s *server) handle(ctx context.Context, conn *rtmp.Conn, req rtmp.Request) error {
	if !req.Publish {
		return s.play(ctx, conn, req)
	}
	channel, err := s.authorise(ctx, req.Stream)
	if err != nil {
		s.refused.Inc()
		return errors.Join(err, conn.Refuse(req, "the gateway does not know this stream key"))
	}
	hub, err := s.open(channel)
	if err != nil {
		s.refused.Inc()
		return errors.Join(err, conn.Refuse(req, "this channel is being published already"))
	}
	defer s.close(channel, hub)
	if err := conn.Approve(req); err != nil {
		return err
	}
	s.accepted.Inc()
	return s.live(ctx, channel, func(context.Context) error { return s.copy(conn, hub) })
}

// copy hands a publisher's media on until the connection ends.
func (s *server) copy(conn *rtmp.Conn, hub *flv.Hub) error {
	var done tampered
	for {
		tag, err := conn.ReadTag()
		if err != nil {
			if !errors.Is(err, rtmp.ErrEnded) {
				s.broken.Inc()
			}
			return err
		}
		s.bytes.Add(float64(len(tag.Data)))
		if changed, ok := done.apply(s.tampers.Now(), tag); ok {
			hub.Publish(changed)
		} else if tag.IsKey() {
			hub.Forget()
		}
	}
}

// authorise asks the gateway which channel a stream key belongs to.
func (s *server) authorise(ctx context.Context, key string) (channel string, err error) {
	ctx, span := s.tracer.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String(traces.Peer, "gateway")))
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}()
	u := "http://" + s.config.Peer("gateway", target.PortHTTP) + "/internal/publish" // an address stands in every error; the key must not
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(url.Values{"key": {key}}.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	resp, err := s.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("gateway: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("gateway: publish refused: %s", resp.Status)
	}
	var answer struct{ Channel string }
	err = json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&answer)
	if err == nil && answer.Channel == "" {
		err = errors.New("gateway: no channel in the answer")
	}
	return answer.Channel, err
}

// tell lets the transcoder know that a publication of a channel has begun or ended.
func (s *server) tell(ctx context.Context, method, channel, publication string) error {
	body, err := json.Marshal(map[string]string{
		"source": "http://" + s.config.Peer(s.config.Name, target.PortHTTP) + "/live/" + channel + ".flv?publication=" + publication})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method,
		"http://"+s.config.Peer("transcode", target.PortHTTP)+"/streams/"+channel, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return errors.New(resp.Status)
	}
	return nil
}

func (s *server) keepTelling(ctx context.Context, channel, publication string) {
	for ctx.Err() == nil {
		wait := tellEvery
		if err := s.tell(ctx, http.MethodPut, channel, publication); err != nil && ctx.Err() == nil {
			slog.Warn("transcoder", "channel", channel, "err", err)
			wait = 250 * time.Millisecond
		}
		target.Wait(ctx, wait)
	}
}

func (s *server) open(channel string) (*flv.Hub, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[channel] != nil {
		return nil, fmt.Errorf("channel %s is being published already", channel)
	}
	hub := flv.NewHub()
	s.streams[channel] = hub
	return hub, nil
}

func (s *server) close(channel string, hub *flv.Hub) {
	s.mu.Lock()
	delete(s.streams, channel)
	s.mu.Unlock()
	hub.Close()
}

func (s *server) find(channel string) *flv.Hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[channel]
}

// play serves a stream over RTMP as it came in.
func (s *server) play(ctx context.Context, conn *rtmp.Conn, req rtmp.Request) error {
	channel, _, _ := strings.Cut(req.Stream, "?")
	hub := s.find(channel)
	if hub == nil {
		return conn.Refuse(req, "nobody publishes this channel")
	}
	if err := conn.Approve(req); err != nil {
		return err
	}
	return conn.PlayHub(ctx, hub)
}

// pull serves a stream as HTTP-FLV, to the transcoder.
func (s *server) pull(w http.ResponseWriter, r *http.Request) {
	channel, ok := strings.CutSuffix(r.PathValue("file"), ".flv")
	hub := s.find(channel)
	if !ok || hub == nil {
		http.NotFound(w, r)
		return
	}
	flv.ServeHub(w, r, hub)
}
