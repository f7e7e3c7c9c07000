package rtc

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// TestPackets gives sound its moments over a loss, a packet that comes twice, one that comes too late, and the turn of both counters.
func TestPackets(t *testing.T) {
	o, before := NewPackets(time.Second), uint32(0xffffff00)
	for i, c := range []struct {
		sequence uint16
		stamp    uint32
		at       time.Duration
		ok       bool
	}{
		{65534, before, time.Second, true},
		{65535, before + 960, 1020 * time.Millisecond, true},
		{65535, before + 960, 0, false},
		{2, before + 4*960, 1080 * time.Millisecond, true}, // 0 and 1 are lost
		{1, before + 3*960, 0, false},
	} {
		at, ok := o.Push(&rtp.Packet{Header: rtp.Header{SequenceNumber: c.sequence, Timestamp: c.stamp}, Payload: []byte{1}})
		if at != c.at || ok != c.ok {
			t.Errorf("packet %d: %s %v, want %s %v", i, at, ok, c.at, c.ok)
		}
	}
	if o.Lost != 2 {
		t.Errorf("%d lost, want 2", o.Lost)
	}
}

// TestOutside has an answer name the address outside before the list of addresses ends.
func TestOutside(t *testing.T) {
	const sdp = "v=0\r\na=candidate:1 1 udp 1 10.0.0.1 8000 typ host\r\na=end-of-candidates\r\n"
	if got := (&Peers{}).withOutside(sdp); got != sdp {
		t.Errorf("without an address outside: %q", got)
	}
	got := (&Peers{Outside: "127.0.0.1:8000"}).withOutside(sdp)
	if !strings.Contains(got, "host\r\na=candidate:outside 1 tcp 1 127.0.0.1 8000 typ host tcptype passive\r\na=end-of-candidates") {
		t.Errorf("%q", got)
	}
}

// TestSessions lets a client end its own connection, once, and no other.
func TestSessions(t *testing.T) {
	var s Sessions
	ended := 0
	id := ""
	id, ok := s.Add(func() {
		ended++
		s.Remove(id)
	})
	if !ok {
		t.Fatal("the house is full")
	}
	status := func(id string) int {
		w := httptest.NewRecorder()
		s.Delete(w, httptest.NewRequest(http.MethodDelete, "/", nil), id)
		return w.Code
	}
	if got := status("another"); got != http.StatusNotFound || ended != 0 {
		t.Errorf("another's: %d, %d ended", got, ended)
	}
	if got := status(id); got != http.StatusOK || ended != 1 {
		t.Errorf("its own: %d, %d ended", got, ended)
	}
	s.Remove(id)
	if got := status(id); got != http.StatusNotFound || ended != 1 {
		t.Errorf("one that has gone: %d, %d ended", got, ended)
	}
	for range Most {
		if _, ok := s.Add(func() {}); !ok {
			t.Fatal("full before its limit")
		}
	}
	if _, ok := s.Add(func() {}); ok {
		t.Error("there is no limit")
	}
}

// TestHere keeps a goodbye on the server that was spoken to.
func TestHere(t *testing.T) {
	for location, want := range map[string]string{"/whip/key/1": "http://10.0.0.1:8080/whip/key/1", "1": "http://10.0.0.1:8080/whip/1", "": "",
		"http://example.org/1": "", "https://10.0.0.1:8080/1": "", "http://10.0.0.1:22/1": "", "::": ""} {
		if got := here("http://10.0.0.1:8080/whip/key", location); got != want {
			t.Errorf("%q leads to %q, want %q", location, got, want)
		}
	}
}
