package injectors

import (
	"context"
	"fmt"
	"sync"
)

// work is what a fault keeps doing for as long as it is there.
type work struct {
	stop context.CancelFunc
	done chan struct{}
}

var (
	worksMu sync.Mutex
	works   = map[string]*work{}
)

// Begin starts what a fault does for as long as it is there: connections that it holds, packets that it delays. It ends with
// the process at the latest; before that any value of the fault can end it by its name.
func Begin(ctx context.Context, name string, do func(context.Context)) error {
	worksMu.Lock()
	defer worksMu.Unlock()
	if works[name] != nil {
		return fmt.Errorf("%s is there already", name)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &work{stop: stop, done: make(chan struct{})}
	works[name] = w
	go func() {
		defer close(w.done)
		defer stop()
		do(ctx)
		worksMu.Lock()
		defer worksMu.Unlock()
		if works[name] == w { // it ended by itself
			delete(works, name)
		}
	}()
	return nil
}

// End ends it and returns when it is over. Where there is none, there is nothing to do.
func End(name string) {
	worksMu.Lock()
	w := works[name]
	worksMu.Unlock()
	if w == nil {
		return
	}
	w.stop()
	<-w.done
	worksMu.Lock()
	defer worksMu.Unlock()
	if works[name] == w {
		delete(works, name)
	}
}

// Begun tells whether this process does it now.
func Begun(name string) bool {
	worksMu.Lock()
	defer worksMu.Unlock()
	return works[name] != nil
}
