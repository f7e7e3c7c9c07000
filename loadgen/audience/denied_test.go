package audience

import (
	"testing"
	"time"
)

// TestDenied: what is left of the plan of those who gave up counts as it passes, and no longer than the plan.
func TestDenied(t *testing.T) {
	h := &House{N: &Numbers{}}
	now := time.Now()
	h.deny(now, now.Add(10*time.Second))
	h.deny(now, now.Add(2*time.Second))
	for _, c := range []struct{ after, want time.Duration }{{0, 0}, {time.Second, 2 * time.Second}, {4 * time.Second, 6 * time.Second}, {time.Minute, 12 * time.Second}, {time.Hour, 12 * time.Second}} {
		h.pass(now.Add(c.after))
		if got := time.Duration(h.N.denied.Load()); got != c.want {
			t.Errorf("%s later %s were denied, want %s", c.after, got, c.want)
		}
	}
	if len(h.denied) > 0 {
		t.Errorf("%d plans are over and still followed", len(h.denied))
	}
}
