package api

import (
	"encoding/json"
	"math"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
)

// balances are the lowest that the platform has told this worker of each user. Nobody is ever given coins: an account that is read with more,
// by a request that was made up afterwards, is an old one.
type balances struct {
	lowest []atomic.Int64
	fresh  prometheus.Counter
	stale  prometheus.Counter
}

func newBalances(m *loadgen.Meter, users int) *balances {
	const name, help = "livedrill_api_account_reads_total", "Accounts read: fresh, or stale, as they were before what this client had been told already."
	b := &balances{lowest: make([]atomic.Int64, users), fresh: m.Counter(name, help, m.Labels("state", "fresh")), stale: m.Counter(name, help, m.Labels("state", "stale"))}
	for i := range b.lowest {
		b.lowest[i].Store(math.MaxInt64)
	}
	return b
}

// of is what is known of a user's account.
func (b *balances) of(user int) int64 {
	if b == nil {
		return math.MaxInt64
	}
	return b.lowest[user].Load()
}

// told takes in the answer to a request.
func (b *balances) told(q request, body []byte) {
	if b == nil || q.route != "gift" && q.route != "account" {
		return
	}
	var answer struct{ Balance *int64 }
	if json.Unmarshal(body, &answer) != nil || answer.Balance == nil {
		return // a gift that was given before has no balance
	}
	now := *answer.Balance
	for low := b.lowest[q.user].Load(); now < low && !b.lowest[q.user].CompareAndSwap(low, now); low = b.lowest[q.user].Load() {
	}
	switch {
	case q.route != "account":
	case now > q.known:
		b.stale.Inc()
	default:
		b.fresh.Inc()
	}
}
