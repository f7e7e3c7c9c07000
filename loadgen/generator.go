// Package loadgen puts traffic on a platform: one folder per protocol, each a Generator. A worker is a process of its own
// that runs one Generator, or a slice of one, from a Spec.
package loadgen

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Generator puts one kind of traffic on the platform until its plan ends or ctx does. Its type is the kind's settings.
type Generator interface {
	// Run returns an error only when it cannot make load at all; what clients suffer is measured, not returned.
	// When it returns, every connection and goroutine it made is gone.
	Run(ctx context.Context, on target.Platform, m *Meter) error
}

// Spec is all that a worker needs to know. It is plain data: the worker may run in another process or on another machine.
type Spec struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Region   string          `json:"region"`
	Slice    Slice           `json:"slice"`
	Seed     uint64          `json:"seed"`
	Start    time.Time       `json:"start"` // when the load begins; connecting may come before
	For      unit.Duration   `json:"for"`
	Settings any             `json:"settings"`
	Platform target.Platform `json:"platform"`
	Socket   string          `json:"socket"`
	Cache    string          `json:"cache"`               // directory with the synthetic camera's clips
	TraceDir string          `json:"trace_dir,omitempty"` // directory for the record's traces; empty: none are kept
}

// Slice is the part of a whole load that one worker makes: the clients of a region, and of these one of Count segments.
// Every worker walks the same seeded plan of the whole and carries out what falls to its clients, so any number of
// workers together make exactly the load of one.
type Slice struct {
	From  float64 `json:"from"` // share of all clients at which the region begins
	To    float64 `json:"to"`
	Index int     `json:"index"` // from 0
	Count int     `json:"count"` // 0 and 1: one segment
}

// Whole is the slice that is everything.
var Whole = Slice{To: 1, Count: 1}

// Mine tells whether client i of n belongs to this slice.
func (s Slice) Mine(i, n int) bool {
	from, to := int(math.Round(s.From*float64(n))), int(math.Round(s.To*float64(n)))
	return i >= from && i < to && (s.Count < 2 || i%s.Count == s.Index)
}

// Meter is what a generator counts with. Every series has the labels load and region.
type Meter struct {
	Spec
	*record.Metrics
	Offered  *Tally             // arrivals that were due
	Achieved prometheus.Counter // arrivals that were carried out
	Failed   Failures           // of these, the ones that failed for the client, by why
	Late     *record.Histogram  // between the time an arrival was due and the time it was carried out
	Traces   *record.Traces     // nil: none are kept
}

// NewMeter makes the series that every load has.
func NewMeter(s Spec) *Meter {
	m := &Meter{Spec: s, Metrics: record.NewMetrics()}
	m.Offered = &Tally{}
	m.CounterFunc("livedrill_load_offered_total", "Arrivals that were due.", m.Labels(), m.Offered.value)
	m.Achieved = m.Counter("livedrill_load_achieved_total", "Arrivals that were carried out.", m.Labels())
	m.Failed = newFailures(m)
	m.Late = m.Histogram("livedrill_load_lateness_seconds", "Time between due and carried out.", m.Labels())
	return m
}

// Tally counts the arrivals that were due, those too that the generator has not come to yet: a generator that falls behind
// shows at once, and not only when it has caught up.
type Tally struct {
	n      atomic.Uint64
	behind atomic.Pointer[func() float64]
	said   atomic.Uint64 // the most that was ever told
}

// Inc counts one arrival.
func (t *Tally) Inc() { t.n.Add(1) }

// value never falls, as a counter must not: what is behind is an estimate, and where it said too much, the count waits for the
// arrivals to catch up with it.
func (t *Tally) value() float64 {
	v := t.n.Load()
	if behind := t.behind.Load(); behind != nil {
		v += uint64((*behind)())
	}
	for {
		said := t.said.Load()
		if v <= said {
			return float64(said)
		}
		if t.said.CompareAndSwap(said, v) {
			return float64(v)
		}
	}
}

// Follow makes Offered know the plan: walked tells how many arrivals of the whole load were looked at so far, and how many of
// them were this worker's own.
func (m *Meter) Follow(s Curve, walked func() (all, own uint64)) {
	behind := func() float64 {
		all, own := walked()
		due := s.Count(min(time.Since(m.Start), time.Duration(m.For)))
		if all == 0 || due <= all {
			return 0
		}
		return float64(due-all) * float64(own) / float64(all)
	}
	m.Offered.behind.Store(&behind)
}

// Labels are the labels of every series of this worker, with more pairs of name and value behind them.
func (m *Meter) Labels(more ...string) prometheus.Labels {
	l := prometheus.Labels{"load": m.Name, "region": m.Region}
	for i := 0; i+1 < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

// Rand is the stream of random numbers of the whole load, the same in every slice.
func (m *Meter) Rand() *rand.Rand {
	var name uint64
	for _, c := range []byte(m.Name) {
		name = name*131 + uint64(c)
	}
	return rand.New(rand.NewPCG(m.Seed, name))
}

// End is when the load's plan ends.
func (m *Meter) End() time.Time { return m.Start.Add(time.Duration(m.For)) }
