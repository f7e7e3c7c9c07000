package loadgen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
)

// TestWhy sorts errors that a client really gets.
func TestWhy(t *testing.T) {
	hangsUp := func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); _ = c.Close() }
	listen := func(t *testing.T, serve func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go serve(c)
			}
		}()
		return l.Addr().String()
	}
	get := func(t *testing.T, url string) error {
		client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			err = errors.Join(errors.New("there was an answer"), resp.Body.Close())
		}
		return err
	}
	for want, try := range map[string]func(t *testing.T) error{
		loadgen.Unreachable: func(t *testing.T) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			return get(t, "http://"+l.Addr().String())
		},
		loadgen.Unanswered: func(t *testing.T) error {
			return get(t, "http://"+listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
		},
		loadgen.CutOff:  func(t *testing.T) error { return get(t, "http://"+listen(t, hangsUp)) },
		loadgen.Unknown: func(t *testing.T) error { return get(t, "http://nobody.invalid/") },
		loadgen.Distrusted: func(t *testing.T) error {
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the client that refuses the certificate
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
			s.StartTLS()
			t.Cleanup(s.Close)
			return get(t, s.URL)
		},
		loadgen.Refused: func(*testing.T) error { return fmt.Errorf("dispatch: %w: 503", target.ErrRefused) },
		loadgen.Otherwise: func(*testing.T) error {
			return &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
		},
		loadgen.Malformed: func(t *testing.T) error {
			return get(t, "http://"+listen(t, func(c net.Conn) { _, _ = c.Write([]byte("\x03nonsense\r\n\r\n")); hangsUp(c) }))
		},
	} {
		t.Run(want, func(t *testing.T) {
			err := try(t)
			for _, e := range []error{err, fmt.Errorf("wrapped: %w", err), errors.Join(context.Canceled, err)} {
				if got := loadgen.Why(e); got != want {
					t.Errorf("%v is %q, want %q", e, got, want)
				}
			}
		})
	}
}
