package injectors

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errHangs is of a step that was left behind. What it still may do comes after everything else, so such a fault never counts as restored.
var errHangs = errors.New("it hangs")

// stepGrace is how long a step may take that was told to end.
const stepGrace = 2 * time.Second

// within gives a step of a fault its time. One that hangs all the same is left behind: the run does not hang with it.
func within[T any](ctx context.Context, limit time.Duration, step func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	type result struct {
		value T
		err   error
	}
	back := make(chan result, 1)
	go func() {
		defer cancel()
		value, err := step(ctx)
		back <- result{value, err}
	}()
	select {
	case r := <-back:
		return r.value, r.err
	case <-ctx.Done():
	}
	late := time.NewTimer(stepGrace)
	defer late.Stop()
	select {
	case r := <-back:
		return r.value, r.err
	case <-late.C:
		var nothing T
		return nothing, fmt.Errorf("%w, %s after it was to end", errHangs, stepGrace)
	}
}
