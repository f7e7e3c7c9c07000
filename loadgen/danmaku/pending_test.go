package danmaku

import (
	"testing"
	"time"
)

// TestPending answers in any order, twice, and for what was never sent.
func TestPending(t *testing.T) {
	var p pending
	at := func(id uint32) time.Time { return time.UnixMicro(int64(id) * 1000) }
	for id := uint32(1); id <= 100; id++ {
		if givenUp, _ := p.add(id, at(id)); givenUp {
			t.Fatalf("message %d was given up with %d open", id, p.open)
		}
	}
	for _, id := range []uint64{100, 1, 50, 99} {
		if due, overdue, ok := p.take(id); !ok || overdue || !due.Equal(at(uint32(id))) {
			t.Errorf("answer for %d: %v %v", id, due, ok)
		}
		if _, _, ok := p.take(id); ok {
			t.Errorf("a second answer for %d counts", id)
		}
	}
	for _, id := range []uint64{0, 101, 1 << 40} {
		if _, _, ok := p.take(id); ok {
			t.Errorf("an answer for %d, which was never sent, counts", id)
		}
	}
	if p.open != 96 {
		t.Errorf("%d are open, want 96", p.open)
	}
	if n := p.expire(at(11)); n != 9 { // 2 to 10
		t.Errorf("%d are overdue, want 9", n)
	}
	if n := p.expire(at(11)); n != 0 {
		t.Errorf("%d are found overdue twice", n)
	}
	if due, overdue, ok := p.take(2); !ok || !overdue || !due.Equal(at(2)) {
		t.Errorf("a late answer: %v %v %v", due, overdue, ok)
	}
	p.add(2, at(2))
	givenUp := 0
	for id := uint32(101); id <= 101+mostPending; id++ {
		if up, _ := p.add(id, at(id)); up {
			givenUp++
		}
	}
	if want := 96 + 1 + mostPending - p.open; givenUp != want || p.open > mostPending {
		t.Errorf("%d were given up and %d are open, want %d given up", givenUp, p.open, want)
	}
	if n, fresh := p.drop(); n == 0 || fresh > n || p.open != 0 {
		t.Errorf("%d were dropped and %d are open", n, p.open)
	}
}
