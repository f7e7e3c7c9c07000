package danmaku

import (
	"bytes"
	"sync"

	"github.com/lxzan/gws"
)

// room is what one server holds of a room: its own members and what they are owed at the next tick.
type room struct {
	name    string
	mu      sync.Mutex
	members map[*member]struct{}
	fresh   []byte // lines that came in here: the other servers need them too
	relayed []byte // lines from other servers
	waiting []waiting
}

// waiting is a publisher that gets its answer when the batch is out.
type waiting struct {
	m  *member
	id string
}

// batch is what one tick has to deliver.
type batch struct {
	room           *room
	fresh, relayed []byte
	publishers     []waiting
}

// member is one connection.
type member struct {
	conn *gws.Conn
	room *room
	from []byte // its name in messages
	mu   sync.Mutex
	acks []byte // answers for the next tick
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
	r.fresh = append(r.fresh, p.id...)
	r.fresh = append(r.fresh, ' ')
	r.fresh = append(r.fresh, p.rest...)
	r.fresh = append(r.fresh, '\n')
	r.waiting = append(r.waiting, waiting{m, string(p.id)})
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

// deliver sends lines to every member with one frame built once, and returns how many deliveries that were.
func (r *room) deliver(lines []byte) int {
	if len(lines) == 0 {
		return 0
	}
	count := bytes.Count(lines, []byte{'\n'})
	b := gws.NewBroadcaster(gws.OpcodeText, lines[:len(lines)-1])
	defer b.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := 0
	for m := range r.members {
		if b.Broadcast(m.conn) == nil {
			sent += count
		}
	}
	return sent
}

// answer queues "ack ID" or "nak ID REASON" for the member.
func (m *member) answer(verb, id, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acks = append(m.acks, verb...)
	m.acks = append(m.acks, ' ')
	m.acks = append(m.acks, id...)
	if reason != "" {
		m.acks = append(m.acks, ' ')
		m.acks = append(m.acks, reason...)
	}
	m.acks = append(m.acks, '\n')
}

// flush sends the queued answers in one frame.
func (m *member) flush() {
	m.mu.Lock()
	acks := m.acks
	m.acks = nil
	m.mu.Unlock()
	if len(acks) > 0 {
		m.conn.WriteAsync(gws.OpcodeText, acks[:len(acks)-1], nil)
	}
}
