package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"github.com/valyala/fasthttp"

	"github.com/livedrill/livedrill/loadgen"
)

// answers are what servers say, whole.
var answers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:  1 \r\nConnection: close\r\n\r\nx",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
	"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
}

// TestAnswersComeInParts cuts each answer in two at every place: it is complete with its last byte, and no sooner.
func TestAnswersComeInParts(t *testing.T) {
	for _, text := range answers {
		for cut := range len(text) {
			var a answer
			a.in = append(a.in, text[:cut]...)
			if _, done, err := a.whole(false, false); done || err != nil {
				t.Fatalf("%q: done %v, %v", text[:cut], done, err)
			}
			a.in = append(a.in, text[cut:]...)
			if _, done, err := a.whole(false, false); !done || err != nil {
				t.Fatalf("%q, cut at %d: done %v, %v", text, cut, done, err)
			}
		}
		var a answer
		a.in = []byte(text[:len(text)-1])
		if _, done, err := a.whole(false, true); done || err == nil {
			t.Errorf("%q, cut off, is taken for an answer", text)
		}
	}
	a := answer{in: []byte("HTTP/1.0 200 OK\r\n\r\nuntil the end")}
	if _, done, err := a.whole(false, false); done || err != nil {
		t.Errorf("done %v before the end, %v", done, err)
	}
	if body, done, err := a.whole(false, true); !done || err != nil || string(body) != "until the end" || !a.last {
		t.Errorf("%q, done %v, last %v, %v", body, done, a.last, err)
	}
}

// TestAnswersThatAreNone, and those behind which a connection is of no more use.
func TestAnswersThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokx":            "malformed",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok":                            "malformed",
		"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok":                                 "malformed",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n":                      "malformed",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": "ok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                                  "ok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: foo, close\r\n\r\nok":        "ok, the last",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Who asked\r\n\r\n":    "ok, the last",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok":                                  "ok, the last",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok":        "ok",
	} {
		a := answer{in: []byte(text)}
		body, done, err := a.whole(false, false)
		got := "malformed"
		if done && err == nil {
			got = string(body)
			if a.last {
				got += ", the last"
			}
		}
		if got != want {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
}

// TestWire: a request goes out as its file has it, and cannot carry another one.
func TestWire(t *testing.T) {
	good, err := newTarget(vegeta.Target{Method: "POST", URL: "http://u:p@127.0.0.1:80/x", Body: []byte("{}"),
		Header: http.Header{"host": {"shop.example"}, "content-length": {"7"}, "Transfer-Encoding": {"chunked"}, "X-A": {"b"}}})
	want := "POST /x HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Basic dTpw\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{}"
	if err != nil || string(good.bytes) != want {
		t.Errorf("%q, want %q (%v)", good.bytes, want, err)
	}
	for _, bad := range []vegeta.Target{
		{Method: "GET / HTTP/1.1\r\nX: y", URL: "http://127.0.0.1/"},
		{Method: "GET", URL: "http://127.0.0.1/", Header: http.Header{"X": {"a\r\nY: b"}}},
		{Method: "GET", URL: "http://127.0.0.1/", Header: http.Header{"X Y": {"a"}}},
	} {
		if _, err := newTarget(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// FuzzAnswer holds what is read of an answer against Go's own reader, where both take it.
func FuzzAnswer(f *testing.F) {
	for _, text := range append(answers, "", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "SSH-2.0-x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n") {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a := answer{in: bytes.Clone(text)}
		body, done, err := a.whole(false, true)
		if !done || err != nil {
			return
		}
		in := bufio.NewReader(bytes.NewReader(text))
		for {
			theirs, err := http.ReadResponse(in, nil)
			if err != nil {
				return // Go is stricter with names and numbers
			}
			if theirs.StatusCode < 200 {
				continue
			}
			whole, err := io.ReadAll(theirs.Body)
			if err == nil && len(theirs.Header["Content-Length"]) < 2 && (theirs.StatusCode != a.code || !bytes.Equal(whole, body)) {
				t.Errorf("%d %q, Go has %d %q", a.code, body, theirs.StatusCode, whole)
			}
			return
		}
	})
}

// TestRudeServers answer in ways that are allowed, or are not, and never stop the load.
func TestRudeServers(t *testing.T) {
	raw := func(text string) fasthttp.RequestHandler {
		return func(r *fasthttp.RequestCtx) {
			r.HijackSetNoResponse(true)
			r.Hijack(func(c net.Conn) { fmt.Fprint(c, text); c.Close() })
		}
	}
	for name, c := range map[string]struct {
		outcome, reason string
		handle          fasthttp.RequestHandler
	}{
		"in pieces":      {"ok", "", func(r *fasthttp.RequestCtx) { r.SetBodyStream(strings.NewReader("in pieces"), -1) }},
		"a megabyte":     {"ok", "", func(r *fasthttp.RequestCtx) { r.SetBody(make([]byte, 1<<20)) }},
		"until the end":  {"ok", "", raw("HTTP/1.0 200 OK\r\n\r\nfine")},
		"no HTTP":        {"error", loadgen.Malformed, raw("SSH-2.0-OpenSSH\r\n\r\n")},
		"an endless one": {"error", loadgen.Malformed, raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx")},
		"half a header":  {"error", loadgen.CutOff, raw("HTTP/1.1 200 OK\r\nContent-")},
	} {
		t.Run(name, func(t *testing.T) {
			l := Default().(*Load)
			l.Engine, l.URL, l.Rate = "pool", server(t, c.handle)+"/x", loadgen.Constant(100)
			got := play(t, l, loadgen.Whole)
			if got["load_offered_total"] != 100 || got["load_achieved_total"] != 100 || got["api_requests_total "+c.outcome] != 100 ||
				c.reason != "" && got["load_failed_total "+c.reason] != 100 {
				t.Errorf("%v, want 100 of outcome %q for %q", got, c.outcome, c.reason)
			}
		})
	}
}

// TestALargeRequest does not fit into a socket at once, and its server reads it late.
func TestALargeRequest(t *testing.T) {
	l := Default().(*Load)
	base := server(t, func(r *fasthttp.RequestCtx) {
		if len(r.PostBody()) != 3<<20 {
			r.SetStatusCode(400)
		}
	})
	file := t.TempDir() + "/targets"
	if err := errors.Join(os.WriteFile(file+".body", make([]byte, 3<<20), 0o600), os.WriteFile(file, fmt.Appendf(nil, "POST %s/x\n@%s.body\n", base, file), 0o600)); err != nil {
		t.Fatal(err)
	}
	l.Engine, l.Targets, l.Rate = "pool", file, loadgen.Constant(20)
	if got := play(t, l, loadgen.Whole); got["api_requests_total ok"] != 20 {
		t.Errorf("%v, want 20 of outcome ok", got)
	}
}
