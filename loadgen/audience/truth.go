package audience

import (
	"time"

	"github.com/livedrill/livedrill/target/stamp"
)

// truth is what a viewer learns of its media by the stamps in them and by their time stamps. One goroutine feeds it.
type truth struct {
	begun   bool
	newest  time.Duration // time stamp of the picture before
	picture offset
}

// offset is how far time stamps are ahead of send times.
type offset struct {
	known bool
	sent  time.Time
	by    time.Duration
}

const (
	// sameTime is how far the send times of a picture and of sound may be apart that are compared: a publisher that came anew counts from
	// zero.
	sameTime = time.Second
	// tooFar is a difference that is a publisher who came anew, and no skew.
	tooFar = 10 * time.Second
)

// Connected says that the next picture is the first of a connection: it follows nothing.
func (s *Session) Connected() { s.truth = truth{} }

// Picture takes a video frame in that arrived now. at is its time stamp, whatever that counts from.
func (s *Session) Picture(at time.Duration, frame []byte, now time.Time) {
	n, t := s.House.N, &s.truth
	n.frames.Inc()
	if step := at - t.newest; t.begun && (step < 0 || step > time.Duration(s.House.Gap)) {
		n.gaps.Inc()
	}
	t.begun, t.newest = true, at
	sent, ok := stamp.Find(frame)
	if !ok {
		n.unstamped.Inc()
		return
	}
	n.delay.Observe(now.Sub(sent).Seconds())
	t.picture = offset{true, sent, at - time.Duration(sent.UnixNano())}
}

// Sound takes a frame of sound in. One that is not stamped tells nothing.
func (s *Session) Sound(at time.Duration, frame []byte) {
	t := &s.truth
	sent, ok := stamp.Find(frame)
	if !ok || !t.picture.known || t.picture.sent.Sub(sent).Abs() > sameTime {
		return
	}
	if skew := (at - time.Duration(sent.UnixNano()) - t.picture.by).Abs(); skew < tooFar {
		s.House.N.skew.Observe(skew.Seconds())
	}
}
