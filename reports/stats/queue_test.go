package stats

import (
	"math"
	"testing"
)

// TestQueues holds the formulas against values of Erlang's tables and of the one-server queue.
func TestQueues(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ c, a, blocked float64 }{{1, 1, 0.5}, {2, 1, 0.2}, {10, 5, 0.018385}, {5, 10, 0.563952}, {100, 84.064, 0.01}} {
		if got := ErlangB(int(x.c), x.a); math.Abs(got-x.blocked) > 1e-5 {
			t.Errorf("%g servers with %g erlangs turn %g away, want %g", x.c, x.a, got, x.blocked)
		}
	}
	for _, x := range []struct{ c, a, waiting float64 }{{1, 0.5, 0.5}, {1, 0.9, 8.1}, {2, 1, 1.0 / 3}, {10, 5, 0.036105}, {3, 0, 0}} {
		if got, ok := QueueLength(int(x.c), x.a); !ok || math.Abs(got-x.waiting) > 1e-5 {
			t.Errorf("before %g servers with %g erlangs wait %g (%v), want %g", x.c, x.a, got, ok, x.waiting)
		}
	}
	if _, ok := QueueLength(2, 2); ok {
		t.Error("a queue that is offered all that it can serve has an end")
	}
}
