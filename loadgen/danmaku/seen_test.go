package danmaku

import "testing"

// TestSeen tells late messages from second copies.
func TestSeen(t *testing.T) {
	var s seen
	for i, c := range []struct {
		seq         uint32
		late, fresh bool
	}{
		{1, false, true}, {1, true, false}, {3, false, true}, {2, true, true}, {2, true, false}, {3, true, false}, {100, false, true},
		{3, true, false}, {99, true, true}, {99, true, false}, {69, true, true}, {68, true, false}, {131, false, true}, {100, true, false},
	} {
		if late, fresh := s.take(c.seq); late != c.late || fresh != c.fresh {
			t.Errorf("step %d, message %d: late %v, fresh %v", i, c.seq, late, fresh)
		}
	}
}
