// Package origin keeps every stream in every rendition and serves it as HLS (RFC 8216) and as HTTP-FLV. The transcoder
// puts streams here as FLV.
package origin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// keep is how long a rendition that nobody feeds any more stays; a transcoder that comes back goes on with it.
const keep = 15 * time.Second

type server struct {
	mu       sync.Mutex
	channels map[string]map[string]*rendition
	requests map[string]prometheus.Counter
	sent     prometheus.Counter
	spoils   target.Told[target.Spoiling]
}

// rendition is one stream in one quality.
type rendition struct {
	hub   *flv.Hub
	hls   *segmenter
	last  uint32 // newest time stamp, to pass over what a returning transcoder sends twice
	begun bool
	feeds int
	turn  int // of the newest feed: an older one that is not gone yet has nothing more to say
	mu    sync.Mutex

	frozen string // its playlist, while playlists are to stay as they are
}

// Serve runs the origin until ctx ends.
func Serve(ctx context.Context, c target.Config) error {
	metrics := record.NewMetrics()
	s := &server{channels: map[string]map[string]*rendition{},
		requests: metrics.Counters("livedrill_origin_requests_total", "Requests by what was asked for.", "what", "playlist", "segment", "flv", "sound"),
		sent:     metrics.Counter("livedrill_origin_sent_bytes_total", "Segments sent.", nil)}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /live/{channel}/{file}", s.feed)
	mux.HandleFunc("GET /live/{channel}/index.m3u8", s.master)
	mux.HandleFunc("GET /live/{channel}/{rendition}/{file}", s.media)
	mux.HandleFunc("GET /live/{channel}/{file}", s.flv)
	mux.HandleFunc("GET /live/{channel}/sound.flv", s.sound(c))
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	inner := http.NewServeMux()
	s.spoils.Changed = s.told
	if err := s.spoils.Handle(inner, c.Socket); err != nil {
		return err
	}
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

// attach finds or makes a rendition for a feed.
func (s *server) attach(channel, name string) (*rendition, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[channel] == nil {
		s.channels[channel] = map[string]*rendition{}
	}
	r := s.channels[channel][name]
	if r == nil {
		r = &rendition{hub: flv.NewHub(), hls: newSegmenter()}
		s.channels[channel][name] = r
	}
	r.feeds++
	r.turn++
	return r, r.turn
}

// detach takes a feed off, and the rendition with it when none came back in time.
func (s *server) detach(ctx context.Context, channel, name string, r *rendition) {
	s.mu.Lock()
	r.feeds--
	s.mu.Unlock()
	if !target.Wait(ctx, keep) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.feeds > 0 || s.channels[channel][name] != r {
		return
	}
	r.hub.Close()
	delete(s.channels[channel], name)
	if len(s.channels[channel]) == 0 {
		delete(s.channels, channel)
	}
}

func (s *server) find(channel, name string) *rendition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channels[channel][name]
}

// feed takes a rendition in until the transcoder ends it.
func (s *server) feed(w http.ResponseWriter, req *http.Request) {
	channel := req.PathValue("channel")
	name, ok := strings.CutSuffix(req.PathValue("file"), ".flv")
	if !ok {
		http.NotFound(w, req)
		return
	}
	control := http.NewResponseController(w)
	r, turn := s.attach(channel, name)
	defer func() { go s.detach(context.WithoutCancel(req.Context()), channel, name, r) }()
	in := flv.NewReader(bufio.NewReaderSize(req.Body, 32<<10))
	for {
		if err := control.SetReadDeadline(time.Now().Add(keep)); err != nil {
			return
		}
		tag, err := in.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && req.Context().Err() == nil {
				slog.Info("feed", "channel", channel, "rendition", name, "err", err)
			}
			return
		}
		if !s.put(r, turn, tag) {
			return
		}
	}
}

// put takes a tag of a feed in, unless a newer feed has taken its place.
func (s *server) put(r *rendition, turn int, tag flv.Tag) bool {
	s.mu.Lock()
	newest := r.turn == turn
	s.mu.Unlock()
	if !newest {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(tag)
	return true
}

func (r *rendition) put(t flv.Tag) {
	config := t.Type == flv.Script || t.IsVideoHeader() || t.IsAudioHeader()
	if !config {
		// A jump back by more than a transcoder could repeat is a publisher that began anew.
		if r.begun && t.Timestamp+5000 < r.last {
			r.hls.restart()
		} else if r.begun && t.IsVideo() && t.Timestamp <= r.last {
			return
		}
		if t.IsVideo() {
			r.last, r.begun = t.Timestamp, true
		}
	}
	if err := r.hls.put(t); err != nil {
		slog.Info("segment", "err", err)
	}
	r.hub.Publish(t)
}

// master answers with the list of renditions (RFC 8216, 4.3.4.2), the highest first.
func (s *server) master(w http.ResponseWriter, req *http.Request) {
	s.requests["playlist"].Inc()
	s.mu.Lock()
	var lines []string
	for _, name := range []string{"main", "low"} {
		if r := s.channels[req.PathValue("channel")][name]; r != nil && r.hls.ready() {
			lines = append(lines, fmt.Sprintf("#EXT-X-STREAM-INF:%s\n%s/index.m3u8\n", r.hls.describe(), name))
		}
	}
	s.mu.Unlock()
	if len(lines) == 0 {
		http.NotFound(w, req)
		return
	}
	playlist(w, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n"+strings.Join(lines, ""))
}

func playlist(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "max-age=1")
	_, _ = io.WriteString(w, text) // the client has gone: nothing to do
}

// media answers with a rendition's playlist or with a segment.
func (s *server) media(w http.ResponseWriter, req *http.Request) {
	r := s.find(req.PathValue("channel"), req.PathValue("rendition"))
	file := req.PathValue("file")
	if r == nil {
		http.NotFound(w, req)
		return
	}
	if file == "index.m3u8" {
		s.requests["playlist"].Inc()
		if !r.hls.ready() {
			http.NotFound(w, req)
			return
		}
		playlist(w, s.playlistOf(r))
		return
	}
	s.requests["segment"].Inc()
	name, isSegment := strings.CutSuffix(file, ".ts")
	number, err := strconv.ParseUint(name, 10, 64)
	data := s.spoiled(number, r.hls.segment(number))
	if !isSegment || err != nil || data == nil {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", "video/mp2t")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	n, _ := w.Write(data)
	s.sent.Add(float64(n))
}

// flv answers with a live stream: CHANNEL.RENDITION in one path element, as edges cache by path.
func (s *server) flv(w http.ResponseWriter, req *http.Request) {
	s.requests["flv"].Inc()
	name, ok := strings.CutSuffix(req.PathValue("file"), ".flv")
	r := s.find(req.PathValue("channel"), name)
	if !ok || r == nil || !slices.Contains([]string{"main", "low"}, name) {
		http.NotFound(w, req)
		return
	}
	flv.ServeHub(w, req, r.hub)
}

// sound answers with a stream's sound as Opus, which the transcoder makes while somebody listens.
func (s *server) sound(c target.Config) http.HandlerFunc {
	transcoder := &url.URL{Scheme: "http", Host: c.Peer("transcode", target.PortHTTP)}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(transcoder)
		r.Out.URL.Path = "/sound/" + r.In.PathValue("channel")
	}, ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() == nil {
			slog.Info("sound", "channel", r.PathValue("channel"), "err", err)
		}
		w.WriteHeader(http.StatusBadGateway)
	}}
	return func(w http.ResponseWriter, r *http.Request) {
		s.requests["sound"].Inc()
		proxy.ServeHTTP(w, r)
	}
}
