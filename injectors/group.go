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
		g.out[place] = s.out
		g.mu.Unlock()
		g.askLate(whole)
	}()
	return s
}

// askLate asks components for their health that could not be asked while another fault was there, when none is any more.
func (g *Group) askLate(ctx context.Context) {
	if g.Runner.count(0) > 0 {
		return
	}
	g.mu.Lock()
	late := map[int]Outcome{}
	for i := range g.out {
		if g.out[i].unasked {
			g.out[i].unasked = false
			late[i] = g.out[i]
		}
	}
	g.mu.Unlock()
	for i, o := range late {
		asked, err := g.Runner.health(ctx, o.Order, 0)
		if o.unasked = !asked; err != nil {
			o.Clean, o.sick = time.Time{}, true
			g.Runner.giveUp(&o, err)
		}
		g.mu.Lock()
		g.out[i] = o
		g.mu.Unlock()
	}
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
	g.mu.Lock()
	out := slices.Clone(g.out[:len(done)])
	g.mu.Unlock()
	for i := len(out) - 1; i >= 0 && len(out) > 1; i-- {
		if out[i].State == NotRestored && !out[i].sick {
			g.Runner.restore(ctx, &out[i])
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	copy(g.out, out)
	return out
}
