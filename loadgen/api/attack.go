package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/livedrill/livedrill/loadgen"
)

// attack makes the load with vegeta's attacker.
func (r *run) attack(ctx context.Context) (err error) {
	p := &planner{run: r, curve: r.Rate.Curve(), plan: map[uint64]planned{}, made: map[string]uint64{}}
	r.m.Follow(p.curve, p.walked)
	keep := func(*vegeta.Result) error { return nil }
	if r.Results != "" {
		file, err := os.Create(r.resultsFile())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		keep = vegeta.NewEncoder(file).Encode
	}
	transport := &http.Transport{MaxIdleConnsPerHost: r.Connections, MaxConnsPerHost: 4 * r.Connections, DisableCompression: true, TLSClientConfig: r.trust}
	defer transport.CloseIdleConnections()
	attacker := vegeta.NewAttacker(vegeta.Client(&http.Client{Transport: &matcher{p, transport}, Timeout: timeout, CheckRedirect: loadgen.Stay}),
		vegeta.Workers(8), vegeta.MaxWorkers(512), vegeta.MaxBody(4096))
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	for result := range attacker.Attack(p.target, p, 0, r.m.Name) {
		if q, ok := p.find(result.Seq); ok {
			switch {
			case result.Latency >= timeout:
				q.why = os.ErrDeadlineExceeded // whatever the connection was doing when that was over
			case q.why == nil:
				q.why = io.ErrUnexpectedEOF // if there is no answer, it began and did not come to its end
			}
			r.count(q.request, int(result.Code), q.why, result.Body, q.due, result.Timestamp, result.Timestamp.Add(result.Latency))
		}
		err = errors.Join(err, keep(result))
	}
	return err
}

// planner gives vegeta the moments and the targets of this worker's own requests. It is a vegeta.Pacer.
type planner struct {
	*run
	curve loadgen.Curve

	mu    sync.Mutex
	next  uint64             // number of the next arrival of the whole load
	drawn uint64             // of these, this worker's own
	taken uint64             // of these, handed to vegeta
	plan  map[uint64]planned // this worker's own, by their number among these, until their result is in
	made  map[string]uint64  // vegeta's number of a request → ours: it hands targets to its workers in any order
}

type planned struct {
	request
	due time.Time
	why error // there was no answer
}

// numberHeader carries our number of a request from its target to the connection, and goes no further; seqHeader is vegeta's own.
const (
	numberHeader = "X-Livedrill-Number"
	seqHeader    = "X-Vegeta-Seq"
)

// Pace counts from the load's own start, not from the moment at which the attack got going.
func (p *planner) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.drawn <= hits {
		due := p.curve.Due(p.next)
		if due >= time.Duration(p.m.For) {
			return 0, true
		}
		if q, mine := p.draw(p.next); mine {
			p.plan[p.drawn] = planned{request: q, due: p.m.Start.Add(due)}
			p.drawn++
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
	return p.next, p.drawn
}

// target makes the next request up.
func (p *planner) target(t *vegeta.Target) error {
	p.mu.Lock()
	number := p.taken
	q := p.plan[number].request
	p.taken++
	p.mu.Unlock()
	*t = p.run.target(q)
	t.Header = t.Header.Clone()
	if t.Header == nil {
		t.Header = http.Header{}
	}
	t.Header.Set(numberHeader, strconv.FormatUint(number, 10))
	return nil
}

// find takes the request out that a result is of.
func (p *planner) find(seq uint64) (planned, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := strconv.FormatUint(seq, 10)
	number, ok := p.made[name]
	q := p.plan[number]
	delete(p.made, name)
	if ok {
		delete(p.plan, number)
	}
	return q, ok
}

// matcher notes which request vegeta has given which number, on its way to the connection, and what went wrong there: of that vegeta's
// result has only words.
type matcher struct {
	p  *planner
	to http.RoundTripper
}

// RoundTrip is part of http.RoundTripper.
func (m *matcher) RoundTrip(req *http.Request) (*http.Response, error) {
	number, numbered := strconv.ParseUint(req.Header.Get(numberHeader), 10, 64)
	if numbered == nil {
		m.p.mu.Lock()
		m.p.made[req.Header.Get(seqHeader)] = number
		m.p.mu.Unlock()
	}
	req = req.Clone(req.Context())
	req.Header.Del(numberHeader)
	resp, err := m.to.RoundTrip(req)
	if err != nil && numbered == nil {
		m.p.mu.Lock()
		q := m.p.plan[number]
		q.why = err
		m.p.plan[number] = q
		m.p.mu.Unlock()
	}
	return resp, err
}

// resultsFile is the file of this worker: each writes one of its own.
func (r *run) resultsFile() string {
	if r.m.Slice == loadgen.Whole || r.m.Slice == (loadgen.Slice{To: 1}) {
		return r.Results
	}
	return fmt.Sprintf("%s-%s-%d", r.Results, r.m.Region, r.m.Slice.Index+1)
}
