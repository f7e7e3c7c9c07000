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
	due int64  // Unix microseconds
}

// add notes a message that goes out. It tells whether an older one had to be given up for it.
func (p *pending) add(id uint32, due time.Time) (givenUp bool) {
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
	*s = slot{id, due.UnixMicro()}
	return givenUp
}

func (p *pending) at(id uint32) *slot { return &p.slots[id%uint32(len(p.slots))] }

// take finds the message that an answer is for, once.
func (p *pending) take(id uint64) (due time.Time, ok bool) {
	if p.slots == nil || id == 0 || id > 1<<32-1 {
		return due, false
	}
	s := p.at(uint32(id))
	if s.id != uint32(id) {
		return due, false
	}
	s.id = 0
	p.open--
	return time.UnixMicro(s.due), true
}

// drop gives every message up, as their connection has, and returns how many there were.
func (p *pending) drop() int {
	n := p.open
	clear(p.slots)
	p.open = 0
	return n
}
