// Package api uses the platform's API as people's apps do: log in, look at a room, give a gift. Requests are open loop; their latency
// counts from the time at which they were due. Two engines make them: vegeta's attacker, and a pool of connections for high rates.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Load is requests in a mix.
type Load struct {
	Rate        loadgen.Shape         `json:"rate" help:"requests of all users together"`
	Mix         map[string]unit.Ratio `json:"mix" help:"share of each request: login, room, gift, account"`
	Users       int                   `json:"users" help:"users of the platform who take part"`
	Engine      string                `json:"engine" help:"vegeta, pool, or auto: the pool where the rate goes above 2000/s"`
	Connections int                   `json:"connections" help:"of each worker, in the pool; at most, for vegeta"`
	URL         string                `json:"url" help:"address on a server of one's own on loopback, which is asked for again and again; empty: the platform's API"`
	TLS         bool                  `json:"tls" help:"over TLS 1.3 (https), with the platform's own certificates"`
	Targets     string                `json:"targets" help:"file of requests in vegeta's format, HTTP or JSON, to servers on loopback; taken in turns"`
	Results     string                `json:"results" help:"file for vegeta's own results, to be read by vegeta report"`
}

// Default is mostly looking.
func Default() loadgen.Generator {
	return &Load{Rate: loadgen.Constant(50), Mix: map[string]unit.Ratio{"login": 0.2, "room": 0.7, "gift": 0.1}, Users: 50, Engine: "auto", Connections: 64}
}

// The requests of the mix, in the order in which shares are laid out; and one of the user's own.
var requests = []string{"login", "room", "gift", "account"}

const ownRequest = "own"

// Validate finds settings that cannot work.
func (l *Load) Validate() error {
	errs := []error{l.Rate.Validate()}
	sum := 0.0
	for name, share := range l.Mix {
		if !slices.Contains(requests, name) {
			errs = append(errs, fmt.Errorf("mix: no request %q: there are %s", name, strings.Join(requests, ", ")))
		}
		sum += float64(share)
	}
	if sum < 0.999 || sum > 1.001 {
		errs = append(errs, fmt.Errorf("mix: the shares make %.4g%%, not 100%%", sum*100))
	}
	if l.Users < 1 || l.Users > 200 {
		errs = append(errs, fmt.Errorf("users: %d is not between 1 and 200, the accounts of the bundled platform", l.Users))
	}
	if l.Connections < 1 || l.Connections > 10_000 {
		errs = append(errs, fmt.Errorf("connections: %d is not between 1 and 10000", l.Connections))
	}
	if l.Engine != "auto" && l.Engine != "vegeta" && l.Engine != "pool" {
		errs = append(errs, fmt.Errorf("engine: no engine %q: there are auto, vegeta and pool", l.Engine))
	}
	if l.URL != "" {
		errs = append(errs, loadgen.CheckURL(l.URL, "http", "https"))
	}
	if l.Targets != "" {
		_, err := readTargets(l.Targets)
		errs = append(errs, err)
	}
	if l.Results != "" && l.pooled() {
		errs = append(errs, errors.New("results: only the engine vegeta writes them"))
	}
	return errors.Join(errs...)
}

// poolFrom is the rate from which on vegeta's attacker costs too much: 30 to 40 µs a request, where the pool takes about 10.
const poolFrom = 2000

func (l *Load) pooled() bool {
	return l.Engine == "pool" || l.Engine == "auto" && l.Results == "" && l.Rate.Curve().Peak() > poolFrom
}

// rooms and timeout of a request; amount of a gift.
const (
	rooms   = 100
	timeout = 3 * time.Second
	amount  = 10
)

type run struct {
	*Load
	m       *loadgen.Meter
	bases   [2]string // of the gateway, and of the canary beside it if there is one
	canary  []bool    // by user: whom the canary serves
	tokens  []string
	own     []ownTarget // the user's own requests, in turns; empty: the platform's
	rng     *rand.Rand
	numbers map[key]series
	known   *balances   // nil: nobody asks for them
	trust   *tls.Config // nil: what this machine trusts, for a server of one's own
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) (err error) {
	r := &run{Load: l, m: m, rng: m.Rand(), canary: make([]bool, l.Users)}
	if r.own, err = l.ownTargets(); err == nil && len(r.own) == 0 {
		err = r.enter(ctx, on)
	}
	if err != nil {
		return err
	}
	r.numbers = newNumbers(m, on.Canary > 0, len(r.own) > 0)
	if l.Mix["account"] > 0 && len(r.own) == 0 {
		r.known = newBalances(m, l.Users)
	}
	if !target.Wait(ctx, time.Until(m.Start)) {
		return nil
	}
	switch {
	case l.pooled() && r.plain():
		return r.loop(ctx)
	case l.pooled():
		return r.pool(ctx)
	}
	return r.attack(ctx)
}

// enter finds the platform's API and logs its users in.
func (r *run) enter(ctx context.Context, on target.Platform) (err error) {
	scheme := "http"
	if r.TLS {
		scheme = "https"
		if r.trust, err = on.Secrets.ClientTLS(); err != nil {
			return err
		}
	}
	if r.bases[0], err = loadgen.URL(on, gateways[0], scheme, ""); err != nil {
		return err
	}
	if on.Canary > 0 {
		if r.bases[1], err = loadgen.URL(on, gateways[1], scheme, ""); err != nil {
			return err
		}
		r.split(on.Canary)
	}
	return r.logIn(ctx)
}
