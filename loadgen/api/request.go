package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
	"github.com/livedrill/livedrill/target/unit"
)

// request is one arrival, drawn from the seeded plan of the whole load.
type request struct {
	number     uint64
	route      string
	user, room int
	arm        int   // the version that serves the user
	known      int64 // of an account: what was known of it before
}

// slots is how finely requests are cut over regions and segments.
const slots = 1000

// draw makes the next arrival of the whole load up, and tells whether it is this worker's own. Arrivals are drawn in order, and every
// worker draws all of them.
func (r *run) draw(n uint64) (request, bool) {
	pick := r.rng.Float64()
	q := request{number: n, user: r.rng.IntN(r.Users), room: r.rng.IntN(rooms), route: requests[len(requests)-1]}
	for _, candidate := range requests {
		if pick -= float64(r.Mix[candidate]); pick < 0 {
			q.route = candidate
			break
		}
	}
	if r.canary[q.user] {
		q.arm = 1
	}
	if len(r.own) > 0 {
		q.route, q.arm = ownRequest, 0
	}
	q.known = r.known.of(q.user)
	return q, r.m.Slice.Mine(int(n*617%slots), slots)
}

// target is the request as vegeta has it.
func (r *run) target(q request) vegeta.Target {
	t := vegeta.Target{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}}
	base := r.bases[q.arm]
	switch q.route {
	case ownRequest:
		return r.own[q.number%uint64(len(r.own))].Target
	case "room":
		t.Method, t.URL = http.MethodGet, fmt.Sprintf("%s/v1/rooms/%d", base, q.room)
	case "login":
		t.URL, t.Body = base+"/v1/login", credentials(q.user)
	case "account":
		t.Method, t.URL = http.MethodGet, base+"/v1/account"
		t.Header.Set("Authorization", "Bearer "+r.tokens[q.user])
	case "gift":
		t.URL = base + "/v1/gifts"
		t.Header.Set("Authorization", "Bearer "+r.tokens[q.user])
		t.Body = fmt.Appendf(nil, `{"key":"%s-%d-%d","room":%d,"amount":%d}`, r.m.Name, r.m.Start.UnixMilli(), q.number, q.room, amount)
	}
	if r.m.Traces != nil {
		t.Header.Set("Traceparent", r.thread(q).Header())
	}
	return t
}

// thread is the request's trace: it has the number of the request in it.
func (r *run) thread(q request) record.Thread {
	return record.ThreadOf(r.m.Name+"/"+strconv.FormatUint(q.number, 10), r.m.Start)
}

// trace takes in the client's side of a request of the platform's.
func (r *run) trace(q request, code int, outcome string, sent, done time.Time) {
	if r.m.Traces == nil || q.route == ownRequest {
		return
	}
	s := traces.Span{Name: q.route, Kind: traces.Client, From: sent, To: done, With: map[string]string{traces.Peer: gateways[q.arm], "region": r.m.Region}}
	if s.Failed = outcome == "error"; s.Failed {
		if s.Why = http.StatusText(code); code == 0 {
			s.Why = "no answer"
		}
	}
	r.m.Traces.Whole(r.thread(q), s)
}

// gateways are the components that serve the two arms.
var gateways = [2]string{"gateway", "gateway-canary"}

// ownTarget is a request of the user's own, with its bytes on the wire.
type ownTarget struct {
	vegeta.Target
	base  string // scheme, host and port
	bytes []byte
}

// ownTargets are the requests of the user's own; none: it is the platform that is asked.
func (l *Load) ownTargets() ([]ownTarget, error) {
	switch {
	case l.Targets != "":
		return readTargets(l.Targets)
	case l.URL != "":
		return one(l.URL)
	}
	return nil, nil
}

// one is a request for an address.
func one(address string) ([]ownTarget, error) {
	t, err := newTarget(vegeta.Target{Method: http.MethodGet, URL: address})
	return []ownTarget{t}, err
}

// readTargets reads a file of requests as vegeta's attack does.
func readTargets(file string) ([]ownTarget, error) {
	text, err := unit.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("targets: %w", err)
	}
	read := vegeta.NewHTTPTargeter(bytes.NewReader(text), nil, nil)
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		read = vegeta.NewJSONTargeter(bytes.NewReader(text), nil, nil)
	}
	all, err := vegeta.ReadAllTargets(read)
	if err != nil {
		return nil, fmt.Errorf("targets: %s: %w", file, err)
	}
	var out []ownTarget
	for i, t := range all {
		if err := loadgen.CheckURL(t.URL, "http", "https"); err != nil {
			return nil, fmt.Errorf("targets: %s: request %d: %w", file, i+1, err)
		}
		o, err := newTarget(t)
		if err != nil {
			return nil, fmt.Errorf("targets: %s: request %d: %w", file, i+1, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// token is a word as methods and names of headers are (RFC 9110, 5.6.2).
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func newTarget(t vegeta.Target) (ownTarget, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return ownTarget{}, err
	}
	if !token.MatchString(t.Method) {
		return ownTarget{}, fmt.Errorf("%q is no method", t.Method)
	}
	for name, values := range t.Header {
		if !token.MatchString(name) || slices.ContainsFunc(values, func(v string) bool { return strings.ContainsFunc(v, unicode.IsControl) }) {
			return ownTarget{}, fmt.Errorf("header %q: has characters that no header has", name)
		}
	}
	base := u.Scheme + "://" + u.Host
	if u.Port() == "" {
		base += map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	}
	raw, err := wire(nil, t)
	return ownTarget{t, base, raw}, err
}

// wire writes a request as it goes over a connection that is kept (RFC 9112).
func wire(dst []byte, t vegeta.Target) ([]byte, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	host := u.Host
	for name, values := range t.Header {
		if strings.EqualFold(name, "Host") && len(values) > 0 {
			host = values[0]
		}
	}
	dst = fmt.Appendf(dst, "%s %s HTTP/1.1\r\nHost: %s\r\n", t.Method, u.RequestURI(), host)
	if name := u.User.Username(); name != "" && t.Header.Get("Authorization") == "" {
		password, _ := u.User.Password()
		dst = fmt.Appendf(dst, "Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
	}
	for name, values := range t.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Connection", "Transfer-Encoding", "Trailer", "Upgrade":
			continue // these are the connection's
		}
		for _, v := range values {
			dst = fmt.Appendf(dst, "%s: %s\r\n", name, v)
		}
	}
	if len(t.Body) > 0 || t.Method == http.MethodPost {
		dst = fmt.Appendf(dst, "Content-Length: %d\r\n", len(t.Body))
	}
	return append(append(dst, "\r\n"...), t.Body...), nil
}

func credentials(user int) []byte {
	return fmt.Appendf(nil, `{"name":"user%d","password":"pw-user%d"}`, user, user)
}

// logIn gets every user a token, before the load begins.
func (r *run) logIn(ctx context.Context) error {
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{TLSClientConfig: r.trust}}
	defer client.CloseIdleConnections()
	for user := range r.Users {
		arm := 0
		if r.canary[user] {
			arm = 1
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.bases[arm]+"/v1/login", bytes.NewReader(credentials(user)))
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
