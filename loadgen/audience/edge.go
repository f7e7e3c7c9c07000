package audience

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
)

const (
	heartbeat = 2 * time.Second        // how often a player tells the platform that it lives, and hears which edge to use
	urgent    = 500 * time.Millisecond // the same while it is short of media
)

// place is the edge that a viewer is at.
type place struct {
	mu   sync.Mutex
	edge string
	why  error              // the platform named none when it was asked last
	move context.CancelFunc // ends what is being fetched, when the edge changes
}

// Edge is the edge that the viewer is to use, empty while none is known. move is called when that changes.
func (v *Session) Edge(move context.CancelFunc) string {
	v.place.mu.Lock()
	defer v.place.mu.Unlock()
	v.place.move = move
	return v.place.edge
}

// NoEdge is why the viewer knows no edge.
func (v *Session) NoEdge() error {
	v.place.mu.Lock()
	defer v.place.mu.Unlock()
	return fmt.Errorf("no edge: %w", v.place.why)
}

// at is the edge that the viewer uses.
func (v *Session) at() string {
	v.place.mu.Lock()
	defer v.place.mu.Unlock()
	return v.place.edge
}

// Assign asks the platform for an edge, and moves the viewer there when it is another one. With an address of the user's own there is
// nobody to ask.
func (v *Session) Assign(ctx context.Context) {
	h := v.House
	if h.URL != "" {
		return
	}
	a, err := loadgen.Dispatch(ctx, h.Client, h.On, h.M.Region)
	v.place.mu.Lock()
	defer v.place.mu.Unlock()
	if v.place.why = err; err != nil || v.place.edge == a.Edge { // without an answer the edge stays
		return
	}
	if v.place.edge != "" {
		h.N.Moves.Inc()
	}
	v.place.edge = a.Edge
	if v.place.move != nil {
		v.place.move()
	}
}

// Follow asks again and again until ctx ends, more often while the viewer is short of media.
func (v *Session) Follow(ctx context.Context, short func(now time.Time) bool) {
	for last := time.Now(); target.Wait(ctx, urgent); {
		if now := time.Now(); now.Sub(last) >= heartbeat || short(now) {
			v.Assign(ctx)
			last = now
		}
	}
}
