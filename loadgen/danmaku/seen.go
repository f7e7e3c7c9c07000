package danmaku

// seen is which of one sender's messages a member has had: the last one, and a bit for each of the 31 before it.
type seen struct{ last, mask uint32 }

// take notes a message. It is fresh when it was not seen before, and late when a later one was. One that is more than 31 behind
// cannot be told from a second copy and counts as one: nothing is ever delivered twice.
func (s *seen) take(seq uint32) (late, fresh bool) {
	if seq > s.last {
		if ahead := seq - s.last; ahead < 32 {
			s.mask = s.mask<<ahead | 1
		} else {
			s.mask = 1
		}
		s.last = seq
		return false, true
	}
	behind := s.last - seq
	if behind > 31 || s.mask&(1<<behind) != 0 {
		return true, false
	}
	s.mask |= 1 << behind
	return true, true
}

// page is how many senders of a room a member begins to keep account of at once.
const page = 32

// ledger is what a member has had from each sender of its room, by the sender's place in it. Pages come with their first message.
type ledger []*[page]seen

func newLedger(size int) ledger { return make(ledger, (size+page-1)/page) }

func (l ledger) of(place int) *seen {
	p := l[place/page]
	if p == nil {
		p = new([page]seen)
		l[place/page] = p
	}
	return &p[place%page]
}
