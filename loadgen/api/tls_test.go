package api

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
)

// TestTLS lets both engines ask a platform whose certificate is good, and one whose certificate ends after the log-ins: each connection is
// made anew, so that each request has a handshake of its own.
func TestTLS(t *testing.T) {
	text, root, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := target.ReadAuthority(text)
	if err != nil {
		t.Fatal(err)
	}
	pair := func(ends time.Duration) *tls.Certificate {
		certificate, key, err := authority.Issue("gateway", "127.0.0.1", time.Now().Add(ends))
		if err != nil {
			t.Fatal(err)
		}
		p, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
	good, ended := pair(time.Hour), pair(-time.Hour)
	for _, engine := range []string{"vegeta", "pool"} {
		for name, ends := range map[string]bool{"ok": false, "error": true} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				var logIns atomic.Int64
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Connection", "close")
					_, _ = w.Write([]byte(`{"token": "t"}`)) // a client that has gone is counted on its own side
					logIns.Add(1)
				}))
				host, port, err := net.SplitHostPort(s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				s.Listener = tls.NewListener(s.Listener, &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
					if ends && logIns.Load() >= 50 {
						return ended, nil
					}
					return good, nil
				}})
				s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse the certificate
				s.Start()
				defer s.Close()
				l := Default().(*Load)
				l.Engine, l.Rate, l.TLS = engine, loadgen.Constant(100), true
				number, err := strconv.Atoi(port)
				if err != nil {
					t.Fatal(err)
				}
				got := playOn(t, l, loadgen.Whole, target.Platform{Secrets: target.Secrets{Root: root},
					Components: []target.Component{{Name: "gateway", Addr: host, Ports: map[string]int{"https": number}}}})
				if got["api_requests_total "+name] != 100 {
					t.Errorf("%v, want 100 of outcome %q", got, name)
				}
				if n := got["load_failed_total "+loadgen.Distrusted]; ends && n != 100 || !ends && n != 0 {
					t.Errorf("%g failed for the certificate: %v", n, got)
				}
			})
		}
	}
}
