// Package api uses the platform's API as people's apps do: log in, look at a room, give a gift. Requests are open loop, by
// vegeta's attacker; their latency counts from the time at which they were due.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
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
	base   string
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
	base, err := loadgen.URL(on, "gateway", "http", "")
	if err != nil {
		return err
	}
	r := &run{Load: l, m: m, base: base, rng: m.Rand()}
	if err := r.logIn(ctx); err != nil {
		return err
	}
	counts, latency := newNumbers(m)
	if !target.Wait(ctx, time.Until(m.Start)) {
		return nil
	}
	m.Follow(l.Rate, func() (uint64, uint64) {
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
		due := m.Start.Add(r.plan[result.Seq].due)
		r.mu.Unlock()
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
		counts[name+" "+outcome].Inc()
		latency[name+" "+outcome].Observe(result.Timestamp.Add(result.Latency).Sub(due).Seconds())
	}
	return nil
}

func newNumbers(m *loadgen.Meter) (map[string]prometheus.Counter, map[string]*record.Histogram) {
	counts, latency := map[string]prometheus.Counter{}, map[string]*record.Histogram{}
	for _, name := range requests {
		for _, outcome := range []string{"ok", "error", "refused"} {
			counts[name+" "+outcome] = m.Counter("livedrill_api_requests_total",
				"Requests by route and outcome: error is 5xx, time-out or reset, refused is 4xx.",
				m.Labels("route", name, "outcome", outcome))
			latency[name+" "+outcome] = m.Histogram("livedrill_api_latency_seconds", "From the intended send time to the whole answer.",
				m.Labels("route", name, "outcome", outcome))
		}
	}
	return counts, latency
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
		q := request{number: r.next, due: r.Rate.Due(r.next), pick: r.rng.Float64(), user: r.rng.IntN(r.Users), room: r.rng.IntN(rooms)}
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
	return p.r.Rate.Rate(elapsed)
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
	*t = vegeta.Target{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}}
	switch name {
	case "room":
		t.Method, t.URL = http.MethodGet, fmt.Sprintf("%s/v1/rooms/%d", r.base, q.room)
	case "login":
		t.URL, t.Body = r.base+"/v1/login", credentials(q.user)
	case "gift":
		t.URL = r.base + "/v1/gifts"
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
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/v1/login", bytes.NewReader(credentials(user)))
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
