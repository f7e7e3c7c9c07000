package api

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/livedrill/livedrill/loadgen"
)

// attack makes the load with vegeta's attacker.
func (r *run) attack(ctx context.Context) (err error) {
	p := &planner{run: r, curve: r.Rate.Curve()}
	r.m.Follow(p.curve, p.walked)
	keep := func(*vegeta.Result) error { return nil }
	if r.Results != "" {
		file, err := os.Create(r.Results)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		keep = vegeta.NewEncoder(file).Encode
	}
	transport := &http.Transport{MaxIdleConnsPerHost: r.Connections, MaxConnsPerHost: 4 * r.Connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	attacker := vegeta.NewAttacker(vegeta.Client(&http.Client{Transport: transport, Timeout: timeout}), vegeta.Workers(8), vegeta.MaxWorkers(512),
		vegeta.MaxBody(4096))
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	for result := range attacker.Attack(p.target, p, 0, r.m.Name) {
		q, due := p.find(result.Seq)
		r.count(q, int(result.Code), due, result.Timestamp, result.Timestamp.Add(result.Latency))
		err = errors.Join(err, keep(result))
	}
	return err
}

// planner gives vegeta the moments and the targets of this worker's own requests. It is a vegeta.Pacer.
type planner struct {
	*run
	curve loadgen.Curve

	mu    sync.Mutex
	next  uint64    // number of the next arrival of the whole load
	plan  []planned // this worker's own, in the order in which they are due
	taken int       // requests that were handed to vegeta
}

type planned struct {
	request
	due time.Time
}

// Pace counts from the load's own start, not from the moment at which the attack got going.
func (p *planner) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uint64(len(p.plan)) <= hits {
		due := p.curve.Due(p.next)
		if due >= time.Duration(p.m.For) {
			return 0, true
		}
		if q, mine := p.draw(p.next); mine {
			p.plan = append(p.plan, planned{q, p.m.Start.Add(due)})
			p.m.Offered.Inc()
		}
		p.next++
	}
	return max(0, time.Until(p.plan[hits].due)), false
}

// Rate is part of vegeta.Pacer.
func (p *planner) Rate(elapsed time.Duration) float64 { return p.curve.Rate(elapsed) }

func (p *planner) walked() (all, own uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next, uint64(len(p.plan))
}

// target makes the next request up.
func (p *planner) target(t *vegeta.Target) error {
	p.mu.Lock()
	q := p.plan[p.taken].request
	p.taken++
	p.mu.Unlock()
	*t = p.run.target(q)
	return nil
}

func (p *planner) find(seq uint64) (request, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan[seq].request, p.plan[seq].due
}
