package webrtc

import (
	"testing"
	"time"
)

// TestFreezes plays gaps that were computed by hand: at 40 ms a frame the limit is 190 ms.
func TestFreezes(t *testing.T) {
	g, at, freezes, frozen := &gaps{}, time.Unix(0, 0), 0, time.Duration(0)
	step := func(d time.Duration) {
		at = at.Add(d)
		if gap, freeze := g.next(at); freeze {
			freezes++
			frozen += gap
		}
	}
	for range 40 {
		step(40 * time.Millisecond)
	}
	step(189 * time.Millisecond) // long, and no freeze
	for range 30 {
		step(40 * time.Millisecond)
	}
	step(191 * time.Millisecond)
	if freezes != 1 || frozen != 191*time.Millisecond {
		t.Errorf("%d freezes of %s, want 1 of 191ms", freezes, frozen)
	}
}
