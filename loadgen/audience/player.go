package audience

import (
	"sync"
	"time"
)

// Player is the model of a viewer's player: a buffer of media time that fills as segments arrive and empties in real time.
// It is driven by the clock alone, so that a test can hold it against a timeline computed by hand.
type Player struct {
	mu       sync.Mutex
	buffer   time.Duration // media that is here and not yet played
	playing  bool          // the first picture is out
	started  time.Time     // when the viewer came
	at       time.Time     // up to when the account stands
	empty    time.Duration // how long the buffer has been empty
	watched  time.Duration
	stalled  time.Duration
	counted  bool // the present gap is long enough to be a stall, and is in stalled
	stalls   int
	minStall time.Duration
}

// Arrive puts media into the buffer.
func (p *Player) Arrive(now time.Time, media time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	p.buffer += media
	p.playing = true
	p.empty, p.counted = 0, false
}

// advance brings the account up to now. Time before the first picture counts as watched and stalled: the viewer waits.
func (p *Player) advance(now time.Time) {
	step := now.Sub(p.at)
	if step <= 0 {
		return
	}
	p.at = now
	p.watched += step
	if p.playing {
		played := min(step, p.buffer)
		p.buffer -= played
		step -= played
	}
	if step == 0 {
		return
	}
	p.empty += step
	switch {
	case p.counted:
		p.stalled += step
	case p.empty > p.minStall:
		p.stalled += p.empty // the gap counts from its beginning
		p.counted = true
		p.stalls++
	}
}

// totals are the account up to now.
func (p *Player) totals(now time.Time) (watched, stalled time.Duration, stalls int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	return p.watched, p.stalled, p.stalls
}

// Left is how much media is in the buffer.
func (p *Player) Left(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	return p.buffer
}
