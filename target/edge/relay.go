package edge

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/rtc"
)

// linger is how long a pulled stream stays after its last viewer.
const linger = 5 * time.Second

// relay pulls each FLV stream from the origin once, whoever many watch it.
type relay struct {
	config  target.Config
	client  *http.Client
	mu      sync.Mutex
	pulls   map[string]*pull
	peers   *rtc.Peers
	calls   sync.WaitGroup // WebRTC viewers
	talks   rtc.Sessions   // of theirs
	rtc     prometheus.Gauge
	players prometheus.Gauge
	viewers prometheus.Gauge
	count   prometheus.Counter
}

type pull struct {
	hub    *flv.Hub
	users  int
	cancel context.CancelFunc
	ready  chan struct{} // closed when the origin has answered
	status int
}

func newRelay(c target.Config, m *record.Metrics, peers *rtc.Peers) *relay {
	return &relay{config: c, client: &http.Client{}, pulls: map[string]*pull{}, peers: peers,
		rtc:     m.Gauge("livedrill_edge_rtc_viewers", "Viewers by WebRTC now.", nil),
		players: m.Gauge("livedrill_edge_rtmp_viewers", "Viewers by RTMP now.", nil),
		viewers: m.Gauge("livedrill_edge_flv_viewers", "Viewers of HTTP-FLV now.", nil),
		count:   m.Counter("livedrill_edge_flv_pulls_total", "FLV streams pulled from the origin.", nil)}
}

var flvPath = regexp.MustCompile(`^/live/([^/]+)(?:/(main|low))?\.flv$`)

// streamKey is what a stream is called at the origin: the first rendition, unless another was asked for.
func streamKey(match []string) string {
	rendition := match[2]
	if rendition == "" {
		rendition = "main"
	}
	return "/live/" + match[1] + "/" + rendition + ".flv"
}

// handler answers what nginx passes on, until ctx ends.
func (r *relay) handler(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		match := whepPath.FindStringSubmatch(req.URL.Path)
		switch {
		case match == nil:
			r.flv(w, req)
		case req.Method == http.MethodPost && match[2] == "":
			r.whep(ctx, w, req, match[1])
		case req.Method == http.MethodOptions:
			rtc.Preflight(w)
		case req.Method == http.MethodDelete && match[2] != "":
			r.talks.Delete(w, req, match[2])
		default:
			http.Error(w, "a viewer sends an offer with POST, and says goodbye with DELETE", http.StatusMethodNotAllowed)
		}
	})
}

// flv answers /live/CHANNEL.flv and /live/CHANNEL/RENDITION.flv.
func (r *relay) flv(w http.ResponseWriter, req *http.Request) {
	match := flvPath.FindStringSubmatch(req.URL.Path)
	if match == nil || req.Method != http.MethodGet {
		http.NotFound(w, req)
		return
	}
	key := streamKey(match)
	p := r.join(req.Context(), key, flv.NewHub)
	defer r.leave(key, p)
	select {
	case <-p.ready:
	case <-req.Context().Done():
		return
	}
	if p.status != http.StatusOK {
		http.Error(w, http.StatusText(p.status), p.status)
		return
	}
	r.viewers.Inc()
	defer r.viewers.Dec()
	flv.ServeHub(w, req, p.hub)
}

// join takes part in a stream, which is pulled into a new hub if it is not here yet.
func (r *relay) join(ctx context.Context, key string, hub func() *flv.Hub) *pull {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pulls[key]
	if p == nil {
		// The pull outlives the viewer that caused it, and ends with the last one.
		pullCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		p = &pull{hub: hub(), cancel: cancel, ready: make(chan struct{})}
		r.pulls[key] = p
		if !strings.HasSuffix(key, soundFile) {
			r.count.Inc()
		}
		r.calls.Go(func() { r.run(pullCtx, key, p) })
	}
	p.users++
	return p
}

// close ends every pull, once there are no viewers any more, and waits for them.
func (r *relay) close() {
	r.mu.Lock()
	for _, p := range r.pulls {
		p.cancel()
	}
	r.mu.Unlock()
	r.calls.Wait()
}

func (r *relay) leave(key string, p *pull) {
	r.mu.Lock()
	p.users--
	last := p.users == 0
	r.mu.Unlock()
	if !last {
		return
	}
	time.AfterFunc(linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if p.users == 0 {
			p.cancel()
			if r.pulls[key] == p { // nobody may join it any more
				delete(r.pulls, key)
			}
		}
	})
}

func (r *relay) run(ctx context.Context, key string, p *pull) {
	defer func() {
		r.mu.Lock()
		if r.pulls[key] == p {
			delete(r.pulls, key)
		}
		r.mu.Unlock()
		p.hub.Close()
		p.cancel()
	}()
	p.status = http.StatusBadGateway
	answered := sync.OnceFunc(func() { close(p.ready) })
	defer answered()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.config.Peer("origin", target.PortHTTP)+key, nil)
	if err != nil {
		return
	}
	resp, err := r.client.Do(req)
	if err != nil {
		slog.Info("pull", "stream", key, "err", err)
		return
	}
	defer resp.Body.Close()
	p.status = resp.StatusCode
	answered()
	if resp.StatusCode != http.StatusOK {
		return
	}
	in := flv.NewReader(bufio.NewReaderSize(resp.Body, 32<<10))
	for {
		t, err := in.Next()
		if err != nil {
			return
		}
		p.hub.Publish(t)
	}
}
