package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// TestForgedTokens tries what attackers try first.
func TestForgedTokens(t *testing.T) {
	tk := tokens{key: []byte("secret")}
	sign := func(method jwt.SigningMethod, key any, expires time.Time) string {
		text, err := jwt.NewWithClaims(method, jwt.RegisteredClaims{Subject: "7", ExpiresAt: jwt.NewNumericDate(expires)}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	later := time.Now().Add(time.Hour)
	good, err := tk.issue(7, "session")
	if err != nil {
		t.Fatal(err)
	}
	eternal, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{Subject: "7"}).SignedString([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		header string
		ok     bool
	}{
		"its own":           {"Bearer " + good, true},
		"none":              {"", false},
		"basic":             {"Basic " + good, false},
		"another key":       {"Bearer " + sign(jwt.SigningMethodHS256, []byte("guess"), later), false},
		"alg=none":          {"Bearer " + sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, later), false},
		"another algorithm": {"Bearer " + sign(jwt.SigningMethodHS512, []byte("secret"), later), false},
		"expired":           {"Bearer " + sign(jwt.SigningMethodHS256, []byte("secret"), time.Now().Add(-time.Minute)), false},
		"never expires":     {"Bearer " + eternal, false},
		"torn":              {"Bearer " + good[:len(good)-4], false},
		"another subject":   {"Bearer " + strings.Replace(good, ".", ".e30", 1), false},
	} {
		user, err := tk.user(&http.Request{Header: http.Header{"Authorization": {c.header}}})
		if c.ok != (err == nil) || c.ok && user != "7" || !c.ok && !errors.Is(err, errForbidden) {
			t.Errorf("%s: user %q, %v", name, user, err)
		}
	}
}

// TestStreamKeys accepts only what the secret signed, and names only where keys are open.
func TestStreamKeys(t *testing.T) {
	secrets := target.Secrets{Stream: "s"}
	for _, c := range []struct {
		key  string
		open bool
		want string
	}{
		{secrets.StreamKey("room-1"), false, "room-1"},
		{"room-1", false, ""},
		{"room-1_0123456789abcdef0123", false, ""},
		{target.Secrets{Stream: "other"}.StreamKey("room-1"), false, ""},
		{secrets.StreamKey("../../etc"), false, ""},
		{"demo", true, "demo"},
		{"../demo", true, ""},
		{"", true, ""},
	} {
		s := &server{config: target.Config{Secrets: secrets, OpenKeys: c.open}}
		r, err := http.NewRequest(http.MethodPost, "/internal/publish", strings.NewReader(url.Values{"key": {c.key}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got, err := s.publish(r)
		channel := ""
		if answer, ok := got.(map[string]string); ok {
			channel = answer["channel"]
		}
		if channel != c.want || (err == nil) != (c.want != "") {
			t.Errorf("key %q (open %v): channel %q, %v; want %q", c.key, c.open, channel, err, c.want)
		}
	}
}

// TestDispatchLeavesASickEdge follows the rule through good, bad and lucky probes.
func TestDispatchLeavesASickEdge(t *testing.T) {
	d, err := newDispatch(target.Config{Edges: []string{"edge-north", "edge-south"}, Chats: []string{"a", "b"}, Ingests: []string{"a"}}, record.NewMetrics())
	if err != nil {
		t.Fatal(err)
	}
	bad := errors.New("slow")
	now := func() string {
		a, err := d.assign("north")
		if err != nil {
			t.Fatal(err)
		}
		return a.Edge
	}
	steps := []struct {
		probe error
		times int
		want  string
	}{
		{nil, 5, "edge-north"}, {bad, 1, "edge-north"}, {nil, 1, "edge-north"}, {bad, 1, "edge-south"}, // two of three
		{nil, wellAfter - 1, "edge-south"}, {bad, 1, "edge-south"}, {nil, wellAfter - 1, "edge-south"}, {nil, 1, "edge-north"},
	}
	for i, s := range steps {
		for range s.times {
			d.note("edge-north", s.probe)
		}
		if got := now(); got != s.want {
			t.Errorf("step %d: viewers of the north go to %s, want %s", i, got, s.want)
		}
	}
	if a, err := d.assign("south"); err != nil || a.Edge != "edge-south" || a.Danmaku != "b" {
		t.Errorf("the south gets %+v (%v)", a, err)
	}
}

// TestProbe finds an edge sick whose certificate has ended, or is another authority's, and one with a good certificate well.
func TestProbe(t *testing.T) {
	pems, root, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	others, _, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signer string
		left   time.Duration
		well   bool
	}{"good": {pems, time.Hour, true}, "ended": {pems, -time.Hour, false}, "another's": {others, time.Hour, false}} {
		t.Run(name, func(t *testing.T) {
			authority, err := target.ReadAuthority(c.signer)
			if err != nil {
				t.Fatal(err)
			}
			certificate, key, err := authority.Issue("edge-north", "127.0.0.1", time.Now().Add(c.left))
			if err != nil {
				t.Fatal(err)
			}
			pair, err := tls.X509KeyPair(certificate, key)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			s.Listener = tls.NewListener(s.Listener, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}})
			s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse the certificate
			s.Start()
			defer s.Close()
			d, err := newDispatch(target.Config{Defences: target.Defences{target.EdgeDispatch: true}, Secrets: target.Secrets{Root: root},
				Peers: map[string]string{"edge-north:8443": s.Listener.Addr().String()}}, record.NewMetrics())
			if err != nil {
				t.Fatal(err)
			}
			if err := d.probe(t.Context(), "edge-north"); (err == nil) != c.well {
				t.Errorf("the edge is well: %v (%v)", err == nil, err)
			}
		})
	}
}
