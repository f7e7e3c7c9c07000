package danmaku

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/danmaku"
	"github.com/livedrill/livedrill/target/poll"
)

// unread is how many bytes may wait for a server that does not read, before the member gives it up.
const unread = 1 << 20

// member is one connection after the other, and all that it has seen. It belongs to the house's thread, and while it has no connection its pause to whoever connects it.
type member struct {
	house   *house
	number  int
	room    int
	seen    ledger
	conn    *poll.Conn // nil while there is none
	frames  danmaku.Frames
	since   time.Time     // when the connection began
	pause   time.Duration // before it tries again to connect
	why     string        // there is no connection: what a message that cannot be sent fails for
	id      uint32
	pending pending
}

// The pauses before a member tries again.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 4 * time.Second

	lasting = time.Second // a connection that ended sooner was none: a server must not be asked for thousands a second
)

// join tries to connect the member, and has it come to the door again after a pause if that fails.
func (m *member) join(ctx context.Context) {
	h := m.house
	fd, early, err := m.connect(ctx)
	if err != nil {
		slog.Debug("member", "number", m.number, "err", err)
		why := loadgen.Why(err)
		h.poll.Do(func() { m.why = why })
		m.later()
	} else if !h.poll.Do(func() { m.sit(fd, early) }) {
		_ = unix.Close(fd) // the house has closed
	}
}

func (m *member) later() {
	pause := m.pause
	m.pause = min(2*m.pause, longestPause) // before the member can be at the door again
	time.AfterFunc(pause, func() { m.house.door <- m })
}

// connect gives the connection's descriptor, and what came on it behind the handshake (RFC 6455, 4).
func (m *member) connect(ctx context.Context) (fd int, early []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	url, err := m.house.address(ctx, fmt.Sprintf("room=room-%d&as=m%d", m.room, m.number))
	if err != nil {
		return -1, nil, err
	}
	conn, err := danmaku.Join(ctx, url, nil)
	if err != nil {
		return -1, nil, err
	}
	return conn.Take()
}

// sit begins to listen to what the room says.
func (m *member) sit(fd int, early []byte) {
	conn, err := m.house.poll.Add(fd, unread, m)
	if err != nil {
		slog.Error("member", "err", err)
		m.later()
		return
	}
	m.conn, m.frames, m.since = conn, danmaku.Frames{Limit: danmaku.MaxHeard}, time.Now()
	m.house.n.begun.Inc()
	m.house.away[m.room]--
	m.Read(early, nil)
}

// left counts what the end of the connection took with it, and lets the member try again.
func (m *member) left() {
	h := m.house
	m.conn, m.why = nil, loadgen.CutOff
	h.away[m.room]++
	if h.open.Err() != nil {
		return
	}
	cut, fresh := m.pending.drop()
	h.n.dropped.Inc()
	h.n.inFlight.Add(-int64(cut))
	h.n.published["cut"].Add(float64(cut))
	h.n.bad.Add(float64(fresh))
	h.m.Failed[loadgen.CutOff].Add(float64(fresh))
	if time.Since(m.since) < lasting {
		m.later()
		return
	}
	m.pause = firstPause
	h.door <- m
}

// write sends a frame. That the connection broke is told by the poller, and cuts what is pending.
func (m *member) write(opcode byte, payload []byte) {
	h := m.house
	h.frame = danmaku.AppendMasked(h.frame[:0], opcode, payload, h.masks.Uint32())
	_ = m.conn.Write(h.frame, nil)
}

// bye leaves the room.
func (m *member) bye() {
	if m.conn != nil {
		m.write(danmaku.CloseFrame, goodbye)
		m.conn.Close()
		m.conn = nil
	}
}

var goodbye = ws.NewCloseFrameBody(ws.StatusNormalClosure, "")

// publish says something, at the time at which it was due. Without a connection the message counts as unsent.
func (m *member) publish(due time.Time) {
	h, n := m.house, m.house.n
	n.due.Inc()
	n.room(n.roomDue, m.room).Inc()
	if m.conn == nil {
		n.published["unsent"].Inc()
		n.bad.Inc()
		h.m.Failed[m.why].Inc()
		return
	}
	m.id++
	h.line = append(h.line[:0], "pub "...)
	h.line = strconv.AppendUint(h.line, uint64(m.id), 10)
	h.line = append(h.line, ' ')
	h.line = strconv.AppendInt(h.line, due.UnixMicro(), 10)
	h.line = append(h.line, ' ')
	h.line = append(h.line, h.text...)
	switch givenUp, overdue := m.pending.add(m.id, due); {
	case !givenUp:
		n.inFlight.Add(1)
	default:
		n.published["unanswered"].Inc()
		if !overdue {
			n.bad.Inc()
			h.m.Failed[loadgen.Unanswered].Inc()
		}
	}
	n.sent.Inc()
	m.write(danmaku.TextFrame, h.line)
}

// expire judges what has waited too long for its answer.
func (m *member) expire(before time.Time) {
	if n := m.pending.expire(before); n > 0 {
		m.house.n.bad.Add(float64(n))
		m.house.m.Failed[loadgen.Unanswered].Add(float64(n))
	}
}

// ping says that a member who only listens is still there.
func (m *member) ping() {
	if m.conn != nil {
		m.write(danmaku.PingFrame, nil)
	}
}

// Read is part of poll.Reader.
func (m *member) Read(data []byte, err error) {
	if err != nil {
		m.left()
		return
	}
	now := time.Now()
	for m.frames.Feed(data); ; {
		opcode, payload, ok, err := m.frames.Next()
		switch {
		case err != nil:
			m.house.n.foreign.Inc()
			m.write(danmaku.CloseFrame, ws.NewCloseFrameBody(ws.StatusProtocolError, "")) // RFC 6455, 7.1.7
			m.conn.Close()
			m.left()
			return
		case !ok:
			return
		case opcode == danmaku.PingFrame:
			m.write(danmaku.PongFrame, payload)
		case opcode == danmaku.CloseFrame:
			m.write(danmaku.CloseFrame, payload)
			m.conn.Close()
			m.left()
			return
		case opcode != danmaku.PongFrame:
			m.hears(payload, now)
		}
	}
}

// hears takes in what the server says, line by line.
func (m *member) hears(lines []byte, now time.Time) {
	delivered := uint64(0)
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, []byte{'\n'})
		verb, args, _ := bytes.Cut(line, []byte{' '})
		switch string(verb) {
		case "msg":
			delivered += m.delivered(args, now)
		case "ack", "nak":
			m.answered(string(verb) == "ack", args, now)
		default:
			m.house.n.foreign.Inc()
		}
	}
	m.house.n.delivered.Add(delivered)
}

// delivered notes "FROM ID STAMP TEXT" and returns 1 when it is seen for the first time.
func (m *member) delivered(args []byte, now time.Time) uint64 {
	n := m.house.n
	from, args, _ := bytes.Cut(args, []byte{' '})
	id, args, _ := bytes.Cut(args, []byte{' '})
	at, _, _ := bytes.Cut(args, []byte{' '})
	if len(from) < 2 || from[0] != 'm' {
		n.foreign.Inc()
		return 0
	}
	sender, okSender := danmaku.Number(from[1:])
	seq, okID := danmaku.Number(id)
	micros, okTime := danmaku.Number(at)
	if !okSender || !okID || !okTime || sender >= uint64(len(m.house.roomOf)) || m.house.roomOf[sender] != m.room {
		n.foreign.Inc()
		return 0
	}
	late, fresh := m.seen.of(m.house.place[sender]).take(uint32(seq))
	if !fresh {
		n.duplicate.Add(1)
		return 0
	}
	if late {
		n.disorder.Add(1)
	}
	n.delivery.Observe(now.Sub(time.UnixMicro(int64(micros))).Seconds())
	return 1
}

// answered notes "ID" or "ID REASON" for one of the member's own messages.
func (m *member) answered(accepted bool, args []byte, now time.Time) {
	n := m.house.n
	first, _, _ := bytes.Cut(args, []byte{' '})
	id, ok := danmaku.Number(first)
	due, overdue, known := m.pending.take(id)
	if !ok || !known {
		n.foreign.Inc()
		return
	}
	n.inFlight.Add(-1)
	switch {
	case overdue: // it has its judgement
	case accepted:
		n.good.Inc()
	default:
		n.bad.Inc()
		m.house.m.Failed[loadgen.Refused].Inc()
	}
	if !accepted {
		n.published["rejected"].Inc()
		return
	}
	n.ack.Observe(now.Sub(due).Seconds())
	n.published["accepted"].Inc()
	n.room(n.roomAccepted, m.room).Inc()
	n.owed.Add(uint64(m.house.size[m.room] - m.house.away[m.room]))
}
