package danmaku

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/poll"
)

// newServer has a reader, and nobody who delivers.
func newServer(t *testing.T) (url string, s *server) {
	t.Helper()
	count := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{}) }
	s = &server{config: target.Config{Name: "danmaku-a"}, rooms: map[string]*room{}, accepted: count(), rejected: count(), connections: prometheus.NewGauge(prometheus.GaugeOpts{})}
	var err error
	if s.poll, err = poll.New(); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.read(ctx) }()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.join(ctx, w, r) }))
	t.Cleanup(func() {
		web.Close()
		end()
		if err := errors.Join(<-done, s.poll.Close()); err != nil {
			t.Error(err)
		}
	})
	return web.Listener.Addr().String(), s
}

// TestRefusedHandshakesAreClosed leaves nothing open for a client that asks for no WebSocket.
func TestRefusedHandshakesAreClosed(t *testing.T) {
	url, _ := newServer(t)
	conn, err := net.Dial("tcp", url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /ws?room=a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestMembersThrownOut are told why (RFC 6455, 7.4.1), and gone from their room.
func TestMembersThrownOut(t *testing.T) {
	for name, c := range map[string]struct {
		says []byte
		code uint16
	}{
		"no frame":              {[]byte("\xff\xff"), 1002},
		"an unmasked frame":     {AppendFrame(nil, TextFrame, []byte("pub 1 1 x")), 1002},
		"text that is none":     {AppendMasked(nil, TextFrame, []byte("pub 1 1 \xff\xfe"), 7), 1007},
		"bytes that are none":   {AppendMasked(nil, binaryFrame, []byte("pub 1 1 \xff\xfe"), 7), 1007},
		"too much":              {AppendMasked(nil, TextFrame, make([]byte, MaxMessage+1), 7), 1009},
		"goodbye":               {AppendMasked(nil, CloseFrame, []byte{3, 0xe8}, 7), 1000},
		"a line, then no frame": {append(AppendMasked(nil, TextFrame, []byte("pub 1 1 x"), 7), 0xff, 0xff), 1002},
	} {
		t.Run(name, func(t *testing.T) {
			url, s := newServer(t)
			conn, err := Join(t.Context(), "ws://"+url+"/ws?room=a&as=m1", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(c.says); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			answer, err := io.ReadAll(bufio.NewReader(conn))
			if len(answer) != 4 || answer[0] != 0x80|CloseFrame || uint16(answer[2])<<8|uint16(answer[3]) != c.code {
				t.Errorf("%x, %v, want a close frame of %d", answer, err, c.code)
			}
			if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.rooms) == 0
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
