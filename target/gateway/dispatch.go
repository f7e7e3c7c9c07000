package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// Assignment is which servers a viewer gets.
type Assignment struct {
	Edge    string `json:"edge"`
	Danmaku string `json:"danmaku"`
	Ingest  string `json:"ingest"`
}

const (
	probeEvery = 300 * time.Millisecond
	probeLimit = 300 * time.Millisecond // an edge that needs longer for 100 KB is sick
	sickAfter  = 2                      // bad probes of the last three: a lucky one in between proves nothing
	wellAfter  = 10                     // good probes in a row
)

// dispatch assigns viewers to the servers of their region. With the defence it measures every edge by fetching as much as
// a second of video from it, over TLS as the pickiest viewers do, and takes a sick one out.
type dispatch struct {
	config target.Config
	client *http.Client // nil: nothing is measured
	mu     sync.Mutex
	bad    map[string][3]bool // the last probes of each edge, the newest first: was it bad?
	good   map[string]int     // good probes in a row
	sick   map[string]bool
	gauges map[string]prometheus.Gauge
}

func newDispatch(c target.Config, m *record.Metrics) (*dispatch, error) {
	d := &dispatch{config: c, bad: map[string][3]bool{}, good: map[string]int{}, sick: map[string]bool{}, gauges: map[string]prometheus.Gauge{}}
	for _, e := range c.Edges {
		d.gauges[e] = m.Gauge("livedrill_dispatch_edge_sick", "1 while viewers are sent away from this edge.",
			prometheus.Labels{"edge": e})
	}
	if c.Defences[target.EdgeDispatch] {
		trust, err := c.Secrets.ClientTLS()
		if err != nil {
			return nil, fmt.Errorf("dispatch: %w", err)
		}
		d.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust}}
	}
	return d, nil
}

// assign gives the edge of the viewer's region, or the next one that is well.
func (d *dispatch) assign(region string) (Assignment, error) {
	if len(d.config.Edges) == 0 || len(d.config.Chats) == 0 || len(d.config.Ingests) == 0 {
		return Assignment{}, fmt.Errorf("no edges, no danmaku servers or no ingests")
	}
	own := max(0, slices.IndexFunc(d.config.Edges, func(e string) bool { return strings.HasSuffix(e, "-"+region) }))
	d.mu.Lock()
	defer d.mu.Unlock()
	edge := d.config.Edges[own]
	for i := range d.config.Edges {
		if e := d.config.Edges[(own+i)%len(d.config.Edges)]; !d.sick[e] {
			edge = e
			break
		}
	}
	return Assignment{Edge: edge, Danmaku: d.config.Chats[own%len(d.config.Chats)],
		Ingest: d.config.Ingests[own%len(d.config.Ingests)]}, nil
}

// run probes the edges until ctx ends, where the defence is on.
func (d *dispatch) run(ctx context.Context) error {
	if d.client == nil {
		<-ctx.Done()
		return nil
	}
	defer d.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, edge := range d.config.Edges {
		wg.Go(func() {
			for target.Wait(ctx, probeEvery) {
				err := d.probe(ctx, edge)
				if ctx.Err() != nil {
					return
				}
				d.note(edge, err)
			}
		})
	}
	return nil
}

func (d *dispatch) probe(ctx context.Context, edge string) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+d.config.Peer(edge, target.PortHTTPS)+"/probe", nil)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("probe: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (d *dispatch) note(edge string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.bad[edge]
	last = [3]bool{err != nil, last[0], last[1]}
	d.bad[edge] = last
	bad := 0
	for _, b := range last {
		if b {
			bad++
		}
	}
	if d.good[edge]++; err != nil {
		d.good[edge] = 0
	}
	switch {
	case !d.sick[edge] && bad >= sickAfter:
		slog.Warn("edge is sick", "edge", edge, "err", err)
		d.sick[edge] = true
		d.gauges[edge].Set(1)
	case d.sick[edge] && d.good[edge] >= wellAfter:
		slog.Info("edge is well again", "edge", edge)
		d.sick[edge] = false
		d.gauges[edge].Set(0)
	}
}
