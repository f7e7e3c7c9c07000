package audience

import (
	"time"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
	"github.com/livedrill/livedrill/target/stamp"
)

// truth is what a viewer learns of its media by the stamps in them and by their time stamps. One goroutine feeds it.
type truth struct {
	begun   bool
	newest  time.Duration // decoding time of the picture before
	picture offset
}

// offset is how far time stamps are ahead of send times.
type offset struct {
	known bool
	by    time.Duration
}

// tooFar is a difference that is a publisher who came anew, and no skew.
const tooFar = 10 * time.Second

// Connected says that the next picture is the first of a connection: it follows nothing.
func (s *Session) Connected() { s.truth = truth{} }

// Picture takes a video frame in that arrived now. decoded and shown are its time stamps, whatever they count from.
func (s *Session) Picture(decoded, shown time.Duration, frame []byte, now time.Time) {
	n, t := s.House.N, &s.truth
	n.frames.Inc()
	if step := decoded - t.newest; t.begun && (step < 0 || step > time.Duration(s.House.Gap)) {
		n.gaps.Inc()
	}
	t.begun, t.newest = true, decoded
	sent, ok := stamp.Find(frame)
	if !ok {
		n.unstamped.Inc()
		return
	}
	n.delay.Observe(now.Sub(sent).Seconds())
	s.trace(sent, now)
	t.picture = offset{true, shown - time.Duration(sent.UnixNano())}
}

// trace takes in the way of a picture to this viewer.
func (s *Session) trace(sent, now time.Time) {
	kept := s.House.M.Traces
	if !kept.Traced(sent) {
		return
	}
	kept.Part(record.ThreadOf(s.Channel, sent), traces.Span{Name: traces.Watch, Kind: traces.Internal, From: sent, To: now,
		With: map[string]string{traces.Channel: s.Channel, traces.Peer: s.at(), "region": s.House.M.Region}})
}

// Sound takes a frame of sound in. One that is not stamped tells nothing.
func (s *Session) Sound(at time.Duration, frame []byte) {
	t := &s.truth
	sent, ok := stamp.Find(frame)
	if !ok || !t.picture.known {
		return
	}
	if skew := (at - time.Duration(sent.UnixNano()) - t.picture.by).Abs(); skew < tooFar {
		s.House.N.skew.Observe(skew.Seconds())
	}
}
