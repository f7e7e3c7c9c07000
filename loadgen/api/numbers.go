package api

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
)

// arms are the two versions of the platform that an A/B run has: a is what everybody else has, b the canary.
var arms = [2]string{"a", "b"}

// key is one route, outcome and arm.
type key struct {
	route, outcome string
	arm            int
}

type series struct {
	count   prometheus.Counter
	latency *record.Histogram
}

func newNumbers(m *loadgen.Meter, split, own bool) map[key]series {
	out := map[key]series{}
	of, routes := arms[:1], requests
	if split {
		of = arms[:]
	}
	if own {
		routes = []string{ownRequest}
	}
	for _, name := range routes {
		for _, outcome := range []string{"ok", "error", "refused"} {
			for arm := range of {
				labels := m.Labels("route", name, "outcome", outcome, "arm", arms[arm])
				out[key{name, outcome, arm}] = series{
					m.Counter("livedrill_api_requests_total", "Requests by route and outcome: error is 5xx, time-out or reset, refused is 4xx.", labels),
					m.Histogram("livedrill_api_latency_seconds", "From the intended send time to the whole answer.", labels)}
			}
		}
	}
	return out
}

// count takes in what became of a request. A code of 0 is no answer at all, and why is what there was instead.
func (r *run) count(q request, code int, why error, body []byte, due, sent, done time.Time) {
	r.m.Carried(due, sent)
	outcome := "ok"
	switch {
	case code == 0 || code >= 500:
		outcome = "error"
	case code >= 400:
		outcome = "refused"
	}
	switch {
	case code == 0:
		r.m.Failed.Count(why)
	case outcome != "ok":
		r.m.Failed[loadgen.Refused].Inc()
	}
	if outcome == "ok" {
		r.known.told(q, body)
	}
	n := r.numbers[key{q.route, outcome, q.arm}]
	n.count.Inc()
	n.latency.Observe(done.Sub(due).Seconds())
	r.trace(q, code, outcome, sent, done)
}

// split gives the canary the users whose names hash lowest: a share of them to the nearest user, the same ones in every worker.
func (r *run) split(share float64) {
	order := make([]int, len(r.canary))
	for user := range order {
		order[user] = user
	}
	hash := func(user int) uint64 {
		h := fnv.New64a()
		fmt.Fprintf(h, "user%d", user)
		return h.Sum64()
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(hash(a), hash(b)) })
	for _, user := range order[:int(math.Round(share*float64(len(order))))] {
		r.canary[user] = true
	}
}
