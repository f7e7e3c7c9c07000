// Package users is whole people: each comes, logs in, is sent to servers, watches, says something, gives a gift and leaves. What a platform
// does to one person is more than what it does to each protocol.
package users

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Load is people who arrive.
type Load struct {
	Rate     loadgen.Shape `json:"rate" help:"arrivals of people"`
	Sample   int           `json:"sample" help:"exactly so many people, evenly over the time, instead of a rate; 0: the rate. With n and no failure, at most 3/n of all fail, at 95 %"`
	Stay     unit.Duration `json:"stay" help:"mean time that one watches"`
	Patience unit.Duration `json:"patience" help:"time without a picture after which one gives up"`
	Channels string        `json:"channels" help:"load whose streams are watched"`
	Streams  int           `json:"streams" help:"number of that load's streams"`
	Accounts int           `json:"accounts" help:"accounts of the platform that people have"`
	Rooms    int           `json:"rooms" help:"chat rooms"`
}

// Default is two people a second.
func Default() loadgen.Generator {
	return &Load{Rate: loadgen.Constant(2), Stay: unit.Duration(5 * time.Second), Patience: unit.Duration(8 * time.Second), Channels: "streamers", Streams: 1,
		Accounts: 100, Rooms: 10}
}

// Validate finds settings that cannot work.
func (l *Load) Validate() error {
	errs := []error{l.Rate.Validate()}
	if l.Sample < 0 || l.Sample > 1_000_000 {
		errs = append(errs, fmt.Errorf("sample: %d is not between 0 and a million", l.Sample))
	}
	if l.Streams < 1 || l.Rooms < 1 {
		errs = append(errs, errors.New("streams, rooms: at least one of each"))
	}
	if l.Accounts < 1 || l.Accounts > 200 {
		errs = append(errs, fmt.Errorf("accounts: %d is not between 1 and 200, those of the bundled platform", l.Accounts))
	}
	if time.Duration(l.Stay) < 100*time.Millisecond || time.Duration(l.Patience) < time.Second {
		errs = append(errs, errors.New("stay, patience: at least 100ms and 1s"))
	}
	return errors.Join(errs...)
}

// steps are the parts of a journey, in their order. One that fails ends it.
var steps = []string{"login", "dispatch", "watch", "chat", "gift", "stay"}

// numbers are the metrics of one worker's people.
type numbers struct {
	whole, broken  prometheus.Counter
	begun, dropped prometheus.Counter
	failed         map[string]prometheus.Counter
	took           map[string]*record.Histogram
	again          prometheus.Counter
}

func newNumbers(m *loadgen.Meter) *numbers {
	const journeys = "People's journeys that ended, by whether every step of them succeeded."
	n := &numbers{failed: map[string]prometheus.Counter{}, took: map[string]*record.Histogram{},
		whole:   m.Counter("livedrill_journeys_total", journeys, m.Labels("result", "whole")),
		broken:  m.Counter("livedrill_journeys_total", journeys, m.Labels("result", "broken")),
		begun:   m.Counter("livedrill_sessions_begun_total", "Sessions that began.", m.Labels("role", "user")),
		dropped: m.Counter("livedrill_sessions_dropped_total", "Sessions ended by anything but their own plan.", m.Labels("role", "user")),
		again:   m.Counter("livedrill_journey_reconnects_total", "Times somebody connected anew to go on watching.", m.Labels())}
	for _, s := range steps {
		n.failed[s] = m.Counter("livedrill_journey_failures_total", "Journeys by the step at which they broke.", m.Labels("step", s))
		n.took[s] = m.Histogram("livedrill_journey_step_seconds", "Time of a step that succeeded.", m.Labels("step", s))
	}
	return n
}

// crowd is all people of one worker.
type crowd struct {
	*Load
	on     target.Platform
	m      *loadgen.Meter
	n      *numbers
	client *http.Client
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	ctx, cancel := context.WithDeadline(ctx, m.End())
	defer cancel()
	c := &crowd{Load: l, on: on, m: m, n: newNumbers(m), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	defer c.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	const cycle = 100 // people are cut over the regions in turns of this many
	m.Arrivals(ctx, l.arrivals(time.Duration(m.For)), func(n uint64, due time.Time) bool {
		if !m.Slice.Mine(int(n*37%cycle), cycle) {
			return false
		}
		wg.Go(func() { c.journey(ctx, n, due) })
		return true
	})
	return nil
}

// arrivals is the rate, or what gives exactly the sample: early enough for the last one to go the whole way.
func (l *Load) arrivals(plan time.Duration) loadgen.Shape {
	if l.Sample == 0 {
		return l.Rate
	}
	open := max(plan-2*time.Duration(l.Stay)-5*time.Second, plan/2)
	return loadgen.Shape{Form: "trace", Trace: []loadgen.Point{{At: 0, Rate: unit.Rate(float64(l.Sample) / open.Seconds())},
		{At: unit.Duration(open), Rate: unit.Rate(float64(l.Sample) / open.Seconds())}, {At: unit.Duration(open), Rate: 0}}}
}
