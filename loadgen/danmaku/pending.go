package danmaku

import "time"

const (
	fewPending  = 8
	mostPending = 1024 // messages of one member that may wait for their answer
)

// pending is the messages of one member that wait for their answer. It grows with them.
type pending struct {
	slots []slot // by id modulo their number
	open  int
}

type slot struct {
	id  uint32 // 0: free
	due int64  // Unix microseconds; below zero: it was found overdue
}

// add notes a message that goes out. It tells whether an older one had to be given up for it, and whether that was overdue already.
func (p *pending) add(id uint32, due time.Time) (givenUp, overdue bool) {
	if p.slots == nil {
		p.slots = make([]slot, fewPending)
	}
	for p.at(id).id != 0 && len(p.slots) < mostPending {
		larger := pending{slots: make([]slot, 2*len(p.slots))}
		for _, s := range p.slots {
			if s.id != 0 {
				*larger.at(s.id) = s
			}
		}
		p.slots = larger.slots
	}
	s := p.at(id)
	if givenUp = s.id != 0; !givenUp {
		p.open++
	}
	overdue = s.due < 0
	*s = slot{id, due.UnixMicro()}
	return givenUp, givenUp && overdue
}

func (p *pending) at(id uint32) *slot { return &p.slots[id%uint32(len(p.slots))] }

// take finds the message that an answer is for, once. overdue: it was found so before.
func (p *pending) take(id uint64) (due time.Time, overdue, ok bool) {
	if p.slots == nil || id == 0 || id > 1<<32-1 {
		return due, false, false
	}
	s := p.at(uint32(id))
	if s.id != uint32(id) {
		return due, false, false
	}
	s.id = 0
	p.open--
	return time.UnixMicro(max(s.due, -s.due)), s.due < 0, true
}

// expire finds the messages that were due before a time and are not known as overdue yet, and returns how many there are.
func (p *pending) expire(before time.Time) (n int) {
	if p.open == 0 {
		return 0
	}
	limit := before.UnixMicro()
	for i := range p.slots {
		if s := &p.slots[i]; s.id != 0 && s.due > 0 && s.due < limit {
			s.due = -s.due
			n++
		}
	}
	return n
}

// drop gives every message up, as their connection has. It returns how many there were, and how many of them were not overdue before.
func (p *pending) drop() (n, fresh int) {
	for _, s := range p.slots {
		if s.id != 0 && s.due > 0 {
			fresh++
		}
	}
	n = p.open
	clear(p.slots)
	p.open = 0
	return n, fresh
}
