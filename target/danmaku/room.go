package danmaku

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"sync"
)

// room is what one server holds of a room: its own members and what they are owed at the next tick.
type room struct {
	name    string
	door    sync.Mutex
	members map[*member]struct{}
	here    []*member // of deliver alone: nobody waits at the door while lines go out
	mu      sync.Mutex
	fresh   []byte // lines that came in here: the other servers need them too
	relayed []byte // lines from other servers
	waiting []waiting
}

// waiting is a publisher that gets its answer when the batch is out.
type waiting struct {
	m  *member
	id uint64
}

// batch is what one tick has to deliver.
type batch struct {
	room           *room
	fresh, relayed []byte
	publishers     []waiting
}

// batchLimit bounds what a room may collect in one tick; beyond it publishers are told so.
const batchLimit = 4 << 20

// add takes a message into the room's next batch, and tells whether there was room for it.
func (r *room) add(m *member, p publish) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.fresh) > batchLimit {
		return false
	}
	r.fresh = append(r.fresh, "msg "...)
	r.fresh = append(r.fresh, m.from...)
	r.fresh = append(r.fresh, ' ')
	r.fresh = strconv.AppendUint(r.fresh, p.id, 10)
	r.fresh = append(r.fresh, ' ')
	r.fresh = append(r.fresh, p.rest...)
	r.fresh = append(r.fresh, '\n')
	r.waiting = append(r.waiting, waiting{m, p.id})
	return true
}

// relay takes lines from another server into the next batch.
func (r *room) relay(lines []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.relayed) <= batchLimit {
		r.relayed = append(r.relayed, lines...)
	}
}

// take empties the room's batch.
func (r *room) take() batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := batch{room: r, fresh: r.fresh, relayed: r.relayed, publishers: r.waiting}
	r.fresh, r.relayed, r.waiting = make([]byte, 0, len(b.fresh)), nil, nil
	return b
}

// deliver sends lines to every member, with one frame built once, behind the answers that the member waits for. It returns how
// many deliveries that were.
func (r *room) deliver(lines []byte) int {
	if len(lines) == 0 {
		return 0
	}
	count := bytes.Count(lines, []byte{'\n'})
	frame := AppendHeader(make([]byte, 0, len(lines)+10), TextFrame, len(lines)-1)
	frame = append(frame, lines[:len(lines)-1]...)
	r.door.Lock()
	r.here = slices.AppendSeq(r.here[:0], maps.Keys(r.members))
	r.door.Unlock()
	sent := 0
	for _, m := range r.here { // one who leaves in between takes no harm
		if m.send(frame) == nil {
			sent += count
		}
	}
	return sent
}
