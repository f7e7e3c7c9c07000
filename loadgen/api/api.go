// Package api uses the platform's API as people's apps do: log in, look at a room, give a gift. Requests are open loop, by
// vegeta's attacker; their latency counts from the time at which they were due.
package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Load is requests in a mix.
type Load struct {
	Rate  loadgen.Shape         `json:"rate" help:"requests of all users together"`
	Mix   map[string]unit.Ratio `json:"mix" help:"share of each request: login, room, gift"`
	Users int                   `json:"users" help:"users of the platform who take part"`
}

// Default is mostly looking.
func Default() loadgen.Generator {
	return &Load{Rate: loadgen.Constant(50), Mix: map[string]unit.Ratio{"login": 0.2, "room": 0.7, "gift": 0.1}, Users: 50}
}

// The requests of the mix, in the order in which shares are laid out.
var requests = []string{"login", "room", "gift"}

// Validate finds settings that cannot work.
func (l *Load) Validate() error {
	errs := []error{l.Rate.Validate()}
	sum := 0.0
	for name, share := range l.Mix {
		if name != "login" && name != "room" && name != "gift" {
			errs = append(errs, fmt.Errorf("mix: no request %q: there are login, room and gift", name))
		}
		sum += float64(share)
	}
	if sum < 0.999 || sum > 1.001 {
		errs = append(errs, fmt.Errorf("mix: the shares make %.4g%%, not 100%%", sum*100))
	}
	if l.Users < 1 || l.Users > 200 {
		errs = append(errs, fmt.Errorf("users: %d is not between 1 and 200, the accounts of the bundled platform", l.Users))
	}
	return errors.Join(errs...)
}

// rooms and timeout of a request; amount of a gift.
const (
	rooms   = 100
	timeout = 3 * time.Second
	amount  = 10
)

type run struct {
	*Load
	m      *loadgen.Meter
	curve  loadgen.Curve
	bases  [2]string // of the gateway, and of the canary beside it if there is one
	canary []bool    // by user: whom the canary serves
	tokens []string

	mu    sync.Mutex
	rng   *rand.Rand
	next  uint64    // number of the next arrival of the whole load
	plan  []request // this worker's own, in the order in which they are due
	taken int       // requests that were handed to vegeta
}

// request is one arrival, drawn from the seeded plan of the whole load.
type request struct {
	number     uint64
	due        time.Duration
	pick       float64 // which of the mix
	user, room int
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	r := &run{Load: l, m: m, curve: l.Rate.Curve(), rng: m.Rand(), canary: make([]bool, l.Users)}
	var err error
	if r.bases[0], err = loadgen.URL(on, "gateway", "http", ""); err != nil {
		return err
	}
	if on.Canary > 0 {
		if r.bases[1], err = loadgen.URL(on, "gateway-canary", "http", ""); err != nil {
			return err
		}
		r.split(on.Canary)
	}
	if err := r.logIn(ctx); err != nil {
		return err
	}
	numbers := newNumbers(m, on.Canary > 0)
	if !target.Wait(ctx, time.Until(m.Start)) {
		return nil
	}
	m.Follow(r.curve, func() (uint64, uint64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.next, uint64(len(r.plan))
	})
	attacker := vegeta.NewAttacker(vegeta.Workers(8), vegeta.MaxWorkers(512), vegeta.MaxConnections(256),
		vegeta.Connections(64), vegeta.Timeout(timeout), vegeta.MaxBody(4096))
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	for result := range attacker.Attack(r.target, pacer{r}, 0, "") {
		r.mu.Lock()
		q := r.plan[result.Seq]
		r.mu.Unlock()
		due := m.Start.Add(q.due)
		m.Achieved.Inc()
		m.Late.Observe(result.Timestamp.Sub(due).Seconds())
		route := result.URL[strings.LastIndex(result.URL, "/v1/")+4:]
		name := strings.TrimSuffix(strings.TrimRight(route, "0123456789/"), "s")
		outcome := "ok"
		switch {
		case result.Code == 0 || result.Code >= 500:
			outcome = "error"
			m.Failed.Inc()
		case result.Code >= 400:
			outcome = "refused"
			m.Failed.Inc()
		}
		n := numbers[name+" "+outcome+" "+arms[r.arm(q.user)]]
		n.count.Inc()
		n.latency.Observe(result.Timestamp.Add(result.Latency).Sub(due).Seconds())
	}
	return nil
}

// arms are the two versions of the platform that an A/B run has: a is what everybody else has, b the canary.
var arms = [2]string{"a", "b"}

// arm is the version that serves a user.
func (r *run) arm(user int) int {
	if r.canary[user] {
		return 1
	}
	return 0
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

// number is one route, outcome and arm.
type number struct {
	count   prometheus.Counter
	latency *record.Histogram
}

func newNumbers(m *loadgen.Meter, split bool) map[string]number {
	out := map[string]number{}
	of := arms[:1]
	if split {
		of = arms[:]
	}
	for _, name := range requests {
		for _, outcome := range []string{"ok", "error", "refused"} {
			for _, arm := range of {
				labels := m.Labels("route", name, "outcome", outcome, "arm", arm)
				out[name+" "+outcome+" "+arm] = number{
					m.Counter("livedrill_api_requests_total", "Requests by route and outcome: error is 5xx, time-out or reset, refused is 4xx.", labels),
					m.Histogram("livedrill_api_latency_seconds", "From the intended send time to the whole answer.", labels)}
			}
		}
	}
	return out
}

// pacer gives vegeta the moments of this worker's own requests.
type pacer struct{ r *run }

// slots is how finely requests are cut over regions and segments.
const slots = 1000

// Pace counts from the load's own start, not from the moment at which the attack got going.
func (p pacer) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for uint64(len(r.plan)) <= hits {
		q := request{number: r.next, due: r.curve.Due(r.next), pick: r.rng.Float64(), user: r.rng.IntN(r.Users), room: r.rng.IntN(rooms)}
		if q.due >= time.Duration(r.m.For) {
			return 0, true
		}
		if r.m.Slice.Mine(int(q.number*617%slots), slots) {
			r.plan = append(r.plan, q)
			r.m.Offered.Inc()
		}
		r.next++
	}
	return max(0, time.Until(r.m.Start.Add(r.plan[hits].due))), false
}

// Rate is the load's own.
func (p pacer) Rate(elapsed time.Duration) float64 {
	return p.r.curve.Rate(elapsed)
}

// target makes the next request up.
func (r *run) target(t *vegeta.Target) error {
	r.mu.Lock()
	q := r.plan[r.taken]
	r.taken++
	r.mu.Unlock()
	name := requests[len(requests)-1]
	for _, candidate := range requests {
		if q.pick -= float64(r.Mix[candidate]); q.pick < 0 {
			name = candidate
			break
		}
	}
	base := r.bases[r.arm(q.user)]
	*t = vegeta.Target{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}}
	switch name {
	case "room":
		t.Method, t.URL = http.MethodGet, fmt.Sprintf("%s/v1/rooms/%d", base, q.room)
	case "login":
		t.URL, t.Body = base+"/v1/login", credentials(q.user)
	case "gift":
		t.URL = base + "/v1/gifts"
		t.Header.Set("Authorization", "Bearer "+r.tokens[q.user])
		t.Body = fmt.Appendf(nil, `{"key":"%s-%d-%d","room":%d,"amount":%d}`, r.m.Name, r.m.Start.UnixMilli(), q.number, q.room, amount)
	}
	return nil
}

func credentials(user int) []byte {
	return fmt.Appendf(nil, `{"name":"user%d","password":"pw-user%d"}`, user, user)
}

// logIn gets every user a token, before the load begins.
func (r *run) logIn(ctx context.Context) error {
	client := &http.Client{Timeout: timeout}
	defer client.CloseIdleConnections()
	for user := range r.Users {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.bases[r.arm(user)]+"/v1/login", bytes.NewReader(credentials(user)))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("log in before the load: %w", err)
		}
		var answer struct{ Token string }
		err = json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&answer)
		if err = errors.Join(err, resp.Body.Close()); err == nil && answer.Token == "" {
			err = errors.New("no token in the answer")
		}
		if err != nil {
			return fmt.Errorf("log in before the load: %s: %w", resp.Status, err)
		}
		r.tokens = append(r.tokens, answer.Token)
	}
	return nil
}
