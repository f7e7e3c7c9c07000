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
	asking sync.Mutex // one askLate at a time
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
		g.out[place] = s.out
		g.mu.Unlock()
		g.askLate(whole)
	}()
	return s
}

// askLate asks components for their health that could not be asked while another fault was there, when none is any more, nor is left of one
// that could not be restored.
func (g *Group) askLate(ctx context.Context) {
	g.asking.Lock()
	defer g.asking.Unlock()
	for g.Runner.count(0) == 0 {
		place, o := g.unasked()
		if place < 0 {
			return
		}
		if asked, err := g.Runner.health(ctx, o.Order, 0); !asked {
			continue // another one has begun: if it is over already, nobody else will ask
		} else if err != nil {
			o.sick = true
			g.Runner.giveUp(&o, err)
		}
		o.unasked = false
		g.mu.Lock()
		g.out[place] = o
		g.mu.Unlock()
	}
}

// unasked is the newest outcome whose component is yet to be asked for its health; -1: there is none, or something is in the way of it.
func (g *Group) unasked() (place int, o Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	place = -1
	for i := range g.out {
		if g.out[i].State == NotRestored && !g.out[i].sick {
			return -1, Outcome{}
		}
		if g.out[i].unasked {
			place, o = i, g.out[i]
		}
	}
	return place, o
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
// What could not be put back is tried once more when no other fault is in the way. Orders that begin meanwhile are none of its business.
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
	for i := len(done) - 1; i >= 0 && len(done) > 1; i-- {
		g.mu.Lock()
		o := g.out[i]
		g.mu.Unlock()
		if o.State == NotRestored && !o.sick {
			g.Runner.count(1)
			g.Runner.restore(ctx, &o)
			g.Runner.count(-1)
			g.mu.Lock()
			g.out[i] = o
			g.mu.Unlock()
		}
	}
	g.askLate(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.out[:len(done)])
}
