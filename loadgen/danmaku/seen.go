package danmaku

// seen is which of one sender's messages a member has had: the last one, and a bit for each of the 63 before it.
type seen struct {
	last uint32
	mask uint64
}

// take notes a message. It is fresh when it was not seen before, and late when a later one was. One that is more than 63 behind
// cannot be told from a second copy and counts as one: nothing is ever delivered twice.
func (s *seen) take(seq uint32) (late, fresh bool) {
	if seq > s.last {
		if ahead := seq - s.last; ahead < 64 {
			s.mask = s.mask<<ahead | 1
		} else {
			s.mask = 1
		}
		s.last = seq
		return false, true
	}
	behind := s.last - seq
	if behind > 63 || s.mask&(1<<behind) != 0 {
		return true, false
	}
	s.mask |= 1 << behind
	return true, true
}
