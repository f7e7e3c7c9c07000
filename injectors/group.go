package injectors

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Group runs orders that overlap and waits for all of them. The newest fault is restored first when ctx ends.
type Group struct {
	Runner *Runner
	ending sync.Mutex // one End at a time
	mu     sync.Mutex
	ctx    context.Context // of the orders, without its end
	live   []context.CancelFunc
	undone []chan struct{} // what was there is there again, and that is yet to be proven
	done   []chan struct{}
	out    []Outcome
}

// Started is an order that a group runs.
type Started struct {
	End  context.CancelFunc // restores the fault before its time
	done chan struct{}
	out  Outcome
}

// Outcome waits for the end of the order.
func (s *Started) Outcome() Outcome {
	<-s.done
	return s.out
}

// Start begins an order; it goes on until its time is over, or one of them is told to end: it or the group.
func (g *Group) Start(ctx context.Context, o Order) *Started {
	whole := context.WithoutCancel(ctx)
	ctx, cancel := context.WithCancel(whole)
	undone, done := make(chan struct{}), make(chan struct{})
	s := &Started{End: cancel, done: done}
	note := sync.OnceFunc(func() { close(undone) })
	g.mu.Lock()
	g.ctx = whole
	g.live, g.undone, g.done = append(g.live, cancel), append(g.undone, undone), append(g.done, done)
	place := len(g.out)
	g.out = append(g.out, Outcome{Order: o})
	g.mu.Unlock()
	go func() {
		defer close(done)
		defer note() // if there was nothing to undo
		defer cancel()
		s.out = g.Runner.run(ctx, o, note)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.out[place] = s.out
	}()
	return s
}

// Wait returns when every fault is over, after a limit, or when ctx ends.
func (g *Group) Wait(ctx context.Context, limit time.Duration) {
	g.mu.Lock()
	done := g.done
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, d := range done {
		select {
		case <-d:
		case <-ctx.Done():
			return
		}
	}
}

// End restores every fault that is still there, one after another, the newest first, and returns what became of all when each is proven gone.
// What could not be restored is tried once more when no other fault is in the way, and components that could not be asked for their health because
// one was are asked then. Orders that begin meanwhile are none of its business.
func (g *Group) End() []Outcome {
	g.ending.Lock()
	defer g.ending.Unlock()
	g.mu.Lock()
	ctx, live, undone, done := g.ctx, g.live, g.undone, g.done
	g.mu.Unlock()
	for i := len(live) - 1; i >= 0; i-- {
		live[i]()
		<-undone[i]
	}
	for _, d := range done {
		<-d
	}
	g.mu.Lock()
	out := slices.Clone(g.out[:len(done)])
	g.mu.Unlock()
	for i := len(out) - 1; i >= 0 && len(out) > 1; i-- {
		switch o := &out[i]; {
		case o.State == NotRestored:
			g.Runner.restore(ctx, o)
		case o.unasked:
			o.unasked = false
			if _, err := g.Runner.health(ctx, o.Order); err != nil {
				o.Clean = time.Time{}
				g.Runner.giveUp(o, err)
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	copy(g.out, out)
	return out
}
