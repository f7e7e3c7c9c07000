package flv

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// firstPicture is how long a probe viewer waits; it is the limit in the definition of push_success_ratio.
const firstPicture = 10 * time.Second

// Probes are viewers who prove that publishes succeeded, by whatever protocol: each waits for its first picture at an edge.
type Probes struct {
	on           target.Platform
	region       string
	client       *http.Client
	seen, unseen prometheus.Counter
	first        *record.Histogram
	watching     sync.WaitGroup
}

// NewProbes makes those of a load's publishers.
func NewProbes(on target.Platform, m *loadgen.Meter) *Probes {
	result := func(name string) prometheus.Counter {
		return m.Counter("livedrill_push_total", "Publish attempts by whether a probe viewer saw a picture.", m.Labels("result", name))
	}
	return &Probes{on: on, region: m.Region, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}, seen: result("seen"), unseen: result("unseen"),
		first: m.Histogram("livedrill_first_frame_seconds", "From before connecting to the end of the first key frame, or of its segment.", m.Labels("protocol", "probe"))}
}

// errRefused is why a probe has nothing to wait for.
var errRefused = errors.New("the publish was refused")

// Prove watches a channel whose publish begins now. refused tells that the server turned it down: what is seen from then on is not this attempt's.
func (p *Probes) Prove(ctx context.Context, channel string) (refused func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	p.watching.Go(func() {
		defer cancel(nil)
		p.watch(ctx, channel)
	})
	return func() { cancel(errRefused) }
}

func (p *Probes) watch(ctx context.Context, channel string) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, firstPicture)
	defer cancel()
	for {
		if FirstPicture(ctx, p.client, p.on, p.region, channel, start) == nil {
			p.seen.Inc()
			p.first.Observe(time.Since(start).Seconds())
			return
		}
		if !target.Wait(ctx, 100*time.Millisecond) {
			break
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), errRefused) { // else the drill has ended: neither seen nor unseen
		p.unseen.Inc()
	}
}

// Close waits until nobody watches any more.
func (p *Probes) Close() {
	p.watching.Wait()
	p.client.CloseIdleConnections()
}
