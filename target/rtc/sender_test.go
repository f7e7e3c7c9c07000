package rtc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

// house is a WHIP server that keeps what comes.
type house struct {
	mu      sync.Mutex
	packets map[string][]*rtp.Packet // by kind
	reports int
	pc      *webrtc.PeerConnection
}

func (h *house) got(kind string) []*rtp.Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.packets[kind]
}

// serve answers offers; rewrite changes the answer on its way.
func (h *house) serve(t *testing.T, peers *Peers, rewrite func(string) string) (url string) {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			return
		}
		pc, err := peers.New()
		if err != nil {
			t.Error(err)
			return
		}
		h.mu.Lock()
		h.pc = pc
		h.mu.Unlock()
		pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
			go func() {
				for {
					packets, _, err := receiver.ReadRTCP()
					if err != nil {
						return
					}
					h.mu.Lock()
					h.reports += len(packets)
					h.mu.Unlock()
				}
			}()
			for {
				p, _, err := track.ReadRTP()
				if err != nil {
					return
				}
				h.mu.Lock()
				h.packets[track.Kind().String()] = append(h.packets[track.Kind().String()], p)
				h.mu.Unlock()
			}
		})
		answer := httptest.NewRecorder()
		if err := peers.Answer(deadlines{answer}, r, pc, "/bye"); err != nil {
			t.Error(err)
		}
		w.WriteHeader(answer.Code)
		_, _ = io.WriteString(w, rewrite(answer.Body.String()))
	}))
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.pc != nil {
			HangUp(h.pc)
		}
		web.Close()
		peers.Close()
	})
	return web.URL
}

// deadlines is a recorder that could have some.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetReadDeadline(time.Time) error { return nil }

func asItIs(answer string) string { return answer }

func newPeers(t *testing.T, listen string, local bool) *Peers {
	t.Helper()
	p, err := NewPeers(listen, local)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wait waits until something is so.
func wait(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // a test
		if time.Now().After(end) {
			t.Fatalf("%s: it is not so after 10 s", what)
		}
	}
}

// waitForDTLS makes a server one that does not begin.
func waitForDTLS(t *testing.T, p *Peers) {
	t.Helper()
	settings, media := webrtc.SettingEngine{}, &webrtc.MediaEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	if err := errors.Join(settings.SetAnsweringDTLSRole(webrtc.DTLSRoleServer), media.RegisterDefaultCodecs()); err != nil {
		t.Fatal(err)
	}
	p.api = webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media))
}

// TestSender sends picture and sound to the library's own receiver, over UDP and over TCP, to one who begins with DTLS and one who waits for it.
func TestSender(t *testing.T) {
	for name, c := range map[string]struct{ rewrite func(string) string }{
		"udp": {asItIs},
		"tcp": {func(answer string) string { // as of a range that is reached over TCP alone
			var out strings.Builder
			for line := range strings.Lines(answer) {
				if !strings.Contains(line, " udp ") {
					out.WriteString(line)
				}
			}
			return out.String()
		}},
		"passive": {func(answer string) string {
			if !strings.Contains(answer, "a=setup:passive") {
				t.Error("the server does not wait for DTLS: nothing is tried here")
			}
			return answer
		}},
		"no sound": {func(answer string) string { return strings.Replace(answer, "m=audio 9", "m=audio 0", 1) }},
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // the last of all
			h := &house{packets: map[string][]*rtp.Packet{}}
			server := newPeers(t, "127.0.0.1:0", false)
			if name == "passive" {
				waitForDTLS(t, server)
			}
			url := h.serve(t, server, c.rewrite)
			peers := newPeers(t, "", true)
			s, err := peers.NewSender(true)
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			leave, err := s.Offer(t.Context(), client, url)
			defer leave()
			if err != nil {
				t.Fatal(err)
			}
			if want := name != "no sound"; s.HasSound() != want {
				t.Errorf("sound: %v, want %v", s.HasSound(), want)
			}
			if want := name != "tcp"; (s.batch != nil) != want {
				t.Errorf("packets in batches: %v, want %v", s.batch != nil, want)
			}
			const frames = 100
			want := 0
			for n := range frames {
				at := time.Duration(n) * 10 * time.Millisecond
				pieces := Cut(append([]byte{0, 0, 0, 1, 0x65}, bytes.Repeat([]byte{byte(n + 1)}, 100+50*n)...))
				want += len(pieces)
				err := s.Picture(at, true, pieces...)
				if err == nil && s.HasSound() {
					err = s.Sound(at, []byte{byte(n)})
				}
				if err == nil {
					_, err = s.Send(time.Now())
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Millisecond) //nolint:forbidigo // a pace
			}
			wait(t, "all pictures come", func() bool { return len(h.got("video")) == want })
			marks, ticks := 0, map[uint32]bool{}
			for i, p := range h.got("video") {
				if i > 0 && p.SequenceNumber != h.got("video")[i-1].SequenceNumber+1 {
					t.Errorf("packet %d came behind %d", p.SequenceNumber, h.got("video")[i-1].SequenceNumber)
				}
				ticks[p.Timestamp] = true
				if p.Marker {
					marks++
				}
			}
			if marks != frames || len(ticks) != frames {
				t.Errorf("%d marks and %d times of %d frames", marks, len(ticks), frames)
			}
			if s.HasSound() {
				wait(t, "all sound comes", func() bool { return len(h.got("audio")) == frames })
			}
			if err := s.Ended(); err != nil {
				t.Errorf("it has ended: %v", err)
			}
			h.mu.Lock()
			pc := h.pc
			h.mu.Unlock()
			HangUp(pc)
			wait(t, "the end is seen", func() bool { return s.Ended() != nil })
			leave()
		})
	}
}

// TestSenderRepairs loses every fifth packet once: the receiver asks for them, and all come. It asks for a key frame, too.
func TestSenderRepairs(t *testing.T) {
	h := &house{packets: map[string][]*rtp.Packet{}}
	server := newPeers(t, "127.0.0.1:0", false)
	url := h.serve(t, server, asItIs)
	peers := newPeers(t, "", true)
	s, err := peers.NewSender(false)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 100)
	s.AskedForKey = func() { asked <- true }
	leave, err := s.Offer(t.Context(), http.DefaultClient, url)
	defer leave()
	if err != nil {
		t.Fatal(err)
	}
	const packets = 200
	for n := range packets {
		if err := s.Picture(time.Duration(n)*10*time.Millisecond, true, []byte{0x65, byte(n)}); err != nil {
			t.Fatal(err)
		}
		if n%5 == 3 {
			s.waiting = s.waiting[:0] // lost on the way
		}
		if _, err := s.Send(time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // a pace
	}
	wait(t, "what was lost comes again", func() bool {
		seen := map[uint16]bool{}
		for _, p := range h.got("video") {
			seen[p.SequenceNumber] = true
		}
		return len(seen) == packets
	})
	p := h.got("video")[0]
	if err := h.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: p.SSRC}}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(5 * time.Second):
		t.Error("the request for a key frame was not heard")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reports == 0 {
		t.Error("no report came")
	}
}

// TestBadAnswers are refused with what is wrong.
func TestBadAnswers(t *testing.T) {
	const good = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef012345\r\n" +
		"a=fingerprint:sha-256 AA:BB\r\na=setup:active\r\na=candidate:1 1 udp 1 127.0.0.1 8000 typ host\r\n"
	streams := []*stream{newStream(h264Payload, 90000, 1)}
	if a, err := readAnswer([]byte(good), streams); err != nil || !a.active || a.hash != "sha-256" || a.print != "AA:BB" || len(a.candidates) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	strange := strings.Replace(good, "a=candidate", "a=candidate:1 1 ssltcp 1 127.0.0.1 8000 typ host\r\na=candidate:1 1 udp 1 127.0.0.1 8000 typ odd\r\na=candidate", 1)
	if a, err := readAnswer([]byte(strange), streams); err != nil || len(a.candidates) != 1 {
		t.Errorf("strange candidates: %+v, %v", a, err)
	}
	for name, c := range map[string]struct{ old, with, want string }{
		"no SDP":           {"v=0", "hello", "answer"},
		"refused":          {"m=video 9", "m=video 0", "not wanted"},
		"another format":   {"SAVPF 102", "SAVPF 96", "not wanted"},
		"no direction":     {"a=setup", "a=inactive\r\na=setup", "not wanted"},
		"another number":   {"m=video", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=video", "2 media"},
		"no credentials":   {"a=ice-pwd", "a=x", "credentials"},
		"no setup":         {"a=setup:active", "a=setup:actpass", "actpass"},
		"no fingerprint":   {"a=fingerprint", "a=x", "fingerprint"},
		"a bad candidate":  {"1 1 udp", "x", "candidate"},
		"nothing whatever": {good, "", "answer"},
	} {
		if _, err := readAnswer([]byte(strings.Replace(good, c.old, c.with, 1)), streams); err == nil || !errors.Is(err, errAnswer) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestWrongCertificate is not spoken to.
func TestWrongCertificate(t *testing.T) {
	h := &house{packets: map[string][]*rtp.Packet{}}
	url := h.serve(t, newPeers(t, "127.0.0.1:0", false), func(answer string) string {
		at := strings.Index(answer, "a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
		return answer[:at] + "00" + answer[at+2:]
	})
	peers := newPeers(t, "", true)
	s, err := peers.NewSender(false)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := s.Offer(t.Context(), http.DefaultClient, url)
	leave()
	if err == nil || !strings.Contains(err.Error(), "DTLS") {
		t.Errorf("%v, want an error of DTLS", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 127.0.0.1 8000 typ host\r\n")
	streams := []*stream{newStream(h264Payload, 90000, 1)}
	f.Fuzz(func(_ *testing.T, text string) { _, _ = readAnswer([]byte(text), streams) })
}
