package rtc

import (
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/pion/webrtc/v4"
)

// Most is how many connections a server keeps at once.
const Most = 4096

// Sessions are a server's connections, by their addresses.
type Sessions struct {
	mu  sync.Mutex
	end map[string]func()
}

// Add keeps a connection that end can end, and gives the last part of its address. There is none when the house is full.
func (s *Sessions) Add(end func()) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = map[string]func(){}
	}
	if len(s.end) >= Most {
		return "", false
	}
	id = rand.Text()
	s.end[id] = end
	return id, true
}

// Remove forgets a connection.
func (s *Sessions) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.end, id)
}

// Delete ends a connection as its client asks (RFC 9725, 4.2).
func (s *Sessions) Delete(w http.ResponseWriter, id string) {
	s.mu.Lock()
	end := s.end[id]
	s.mu.Unlock()
	allow(w)
	if end == nil {
		http.Error(w, "there is no such connection", http.StatusNotFound)
		return
	}
	end()
}

// Preflight answers a browser that asks whether a page from elsewhere may connect (RFC 9725, 4.2).
func Preflight(w http.ResponseWriter) {
	allow(w)
	w.Header().Set("Access-Control-Allow-Methods", "POST, DELETE, OPTIONS")
	w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
	w.WriteHeader(http.StatusNoContent)
}

func allow(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Location")
}

// Answer is a server's part of the agreement: it reads the offer of a request and answers it with 201 and a location (RFC 9725, 4.2).
func (p *Peers) Answer(w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection, location string) error {
	allow(w)
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, OfferLimit))
	if err == nil {
		err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)})
	}
	if err != nil {
		http.Error(w, "the offer cannot be read", http.StatusBadRequest)
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
