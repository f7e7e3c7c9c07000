package rtc

import (
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Most is how many connections a server keeps at once.
const Most = 4096

// Sessions are a server's connections, by their addresses.
type Sessions struct {
	mu   sync.Mutex
	open map[string]session
}

type session struct {
	end  func()
	done chan struct{}
}

// goodbyeLimit is how long a client that says goodbye waits for its connection to be gone.
const goodbyeLimit = 2 * time.Second

// Add keeps a connection that end can end, and gives the last part of its address. There is none when the house is full.
func (s *Sessions) Add(end func()) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]session{}
	}
	if len(s.open) >= Most {
		return "", false
	}
	id = rand.Text()
	s.open[id] = session{end, make(chan struct{})}
	return id, true
}

// Remove forgets a connection that has ended.
func (s *Sessions) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.open[id]; ok {
		close(o.done)
		delete(s.open, id)
	}
}

// Delete ends a connection as its client asks (RFC 9725, 4.2), and answers when it is gone.
func (s *Sessions) Delete(w http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	o, ok := s.open[id]
	s.mu.Unlock()
	Allow(w)
	if !ok {
		http.Error(w, "there is no such connection", http.StatusNotFound)
		return
	}
	o.end()
	late := time.NewTimer(goodbyeLimit)
	defer late.Stop()
	select {
	case <-o.done:
	case <-late.C:
		w.WriteHeader(http.StatusAccepted)
	case <-r.Context().Done():
	}
}

// Preflight answers a browser that asks whether a page from elsewhere may connect (RFC 9725, 4.2).
func Preflight(w http.ResponseWriter) {
	Allow(w)
	w.Header().Set("Access-Control-Allow-Methods", "POST, DELETE, OPTIONS")
	w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
	w.WriteHeader(http.StatusNoContent)
}

// Allow lets pages from elsewhere read an answer, whatever it says.
func Allow(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Location")
}

// Answer is a server's part of the agreement: it reads the offer of a request and answers it with 201 and a location (RFC 9725, 4.2).
func (p *Peers) Answer(w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection, location string) error {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(ConnectLimit)); err != nil {
		http.Error(w, "the offer cannot be read", http.StatusInternalServerError)
		return err
	}
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, OfferLimit))
	if err == nil {
		err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)})
	}
	if err != nil {
		http.Error(w, "the offer cannot be read", http.StatusBadRequest)
		return err
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	answer, err := pc.CreateAnswer(nil)
	if err == nil {
		err = pc.SetLocalDescription(answer)
	}
	if err != nil {
		http.Error(w, "the offer cannot be met", http.StatusNotAcceptable)
		return err
	}
	select {
	case <-gathered:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusCreated)
	_, err = io.WriteString(w, p.withOutside(pc.LocalDescription().SDP))
	return err
}

// withOutside adds the address outside to an answer, behind those that the library knows of.
func (p *Peers) withOutside(sdp string) string {
	host, port, err := net.SplitHostPort(p.Outside)
	if err != nil {
		return sdp
	}
	const last = "a=end-of-candidates\r\n"
	return strings.Replace(sdp, last, "a=candidate:outside 1 tcp 1 "+host+" "+port+" typ host tcptype passive\r\n"+last, 1)
}
