package audience

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
)

// The parts of the time to a first picture, in their order. Each counts from the end of the one before that a protocol has.
const (
	Dispatched = "dispatch"   // the platform has said which edge
	Resolved   = "resolve"    // the edge's name has an address
	Connected  = "connect"    // there is a connection
	Agreed     = "handshake"  // of WebRTC: offer and answer, ICE, DTLS
	Answered   = "first-byte" // the first byte of what was asked for is here
	shown      = "picture"
)

var phases = []string{Dispatched, Resolved, Connected, Agreed, Answered, shown}

func phaseHistograms(m *loadgen.Meter, protocol string) map[string]*record.Histogram {
	out := map[string]*record.Histogram{}
	for _, p := range phases {
		out[p] = m.Histogram("livedrill_first_frame_phase_seconds", "Time to the first picture by phase.", m.Labels("protocol", protocol, "phase", p))
	}
	return out
}

// way is how far a viewer is on the way to its first picture.
type way struct {
	mu   sync.Mutex
	at   map[string]time.Time
	over bool
}

// Reached notes the end of a phase. The first time counts: a second try is part of the phase that the first one did not bring to its end.
func (w *way) Reached(phase string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if w.at == nil {
		w.at = map[string]time.Time{}
	}
	if _, known := w.at[phase]; !known {
		w.at[phase] = time.Now()
	}
}

// Traced lets an HTTP request note the ends of its phases, for as long as there was no picture.
func (w *way) Traced(ctx context.Context) context.Context {
	w.mu.Lock()
	over := w.over
	w.mu.Unlock()
	if over {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone:              func(httptrace.DNSDoneInfo) { w.Reached(Resolved) },
		GotConn:              func(httptrace.GotConnInfo) { w.Reached(Connected) },
		GotFirstResponseByte: func() { w.Reached(Answered) },
	})
}

// arrive ends the way at the first picture.
func (w *way) arrive(began, now time.Time, into map[string]*record.Histogram) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	before := began
	for _, p := range phases {
		at, ok := w.at[p]
		if p == shown {
			at, ok = now, true
		}
		if ok {
			into[p].Observe(max(at.Sub(before), 0).Seconds())
			if at.After(before) { // one that ended before its predecessor is over with it
				before = at
			}
		}
	}
}
