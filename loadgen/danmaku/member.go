package danmaku

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/lxzan/gws"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/danmaku"
)

// pingEvery keeps a member who only listens in its room.
const pingEvery = 20 * time.Second

// unread is how many bytes may wait for a server that does not read, before the member gives it up.
const unread = 1 << 20

// member is one connection, and all that it has seen.
type member struct {
	gws.BuiltinEventHandler
	house  *house
	number int
	room   int
	seen   ledger

	mu      sync.Mutex
	out     *danmaku.Outbox // nil while there is no connection
	why     string          // there is none: what a message that cannot be sent fails for
	id      uint32
	pending pending
}

// stay keeps the member in its room until ctx ends, with a pause before each new try.
func (m *member) stay(ctx context.Context, gate chan struct{}) {
	for pause := 250 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 4*time.Second) {
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, out, err := m.connected(ctx)
		<-gate
		if err != nil {
			slog.Debug("member", "number", m.number, "err", err)
			m.mu.Lock()
			m.why = loadgen.Why(err)
			m.mu.Unlock()
			target.Wait(ctx, pause)
			continue
		}
		pause = 250 * time.Millisecond
		m.sit(ctx, conn, out)
	}
}

// sit reads what the room says until the connection or ctx ends.
func (m *member) sit(ctx context.Context, conn *gws.Conn, out *danmaku.Outbox) {
	m.house.n.begun.Inc()
	m.mu.Lock()
	m.out = out
	m.mu.Unlock()
	m.house.away[m.room].Add(-1)
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // a server that does not read hears no goodbye
		conn.WriteClose(1000, nil)
		conn.NetConn().Close()
	})
	conn.ReadLoop()
	stop()
	out.Close()
	m.house.away[m.room].Add(1)
	m.mu.Lock()
	m.out, m.why = nil, loadgen.CutOff
	cut, fresh := 0, 0
	if ctx.Err() == nil {
		cut, fresh = m.pending.drop()
	}
	m.mu.Unlock()
	if ctx.Err() == nil {
		m.house.n.dropped.Inc()
		m.house.n.inFlight.Add(-int64(cut))
		m.house.n.published["cut"].Add(float64(cut))
		m.house.n.bad.Add(float64(fresh))
		m.house.m.Failed[loadgen.CutOff].Add(float64(cut))
	}
}

// connected connects on a stack of its own: it needs a large one, and a member who only listens would keep that.
func (m *member) connected(ctx context.Context) (conn *gws.Conn, out *danmaku.Outbox, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, out, err = m.connect(ctx)
	}()
	<-done
	return conn, out, err
}

func (m *member) connect(ctx context.Context) (*gws.Conn, *danmaku.Outbox, error) {
	h := m.house
	url, err := h.address(ctx, fmt.Sprintf("room=room-%d&as=m%d", m.room, m.number))
	if err != nil {
		return nil, nil, err
	}
	conn, answer, err := gws.NewClient( //nolint:bodyclose // the answer to an upgrade has no body
		m, &gws.ClientOption{Addr: url, HandshakeTimeout: 5 * time.Second,
			ReadMaxPayloadSize: 8 << 20, ReadBufferSize: 2048, Recovery: gws.Recovery})
	if err != nil && answer != nil && answer.StatusCode >= 400 {
		err = fmt.Errorf("%w: %s", target.ErrRefused, answer.Status)
	}
	if err != nil {
		return nil, nil, err
	}
	out, err := danmaku.NewOutbox(conn.NetConn(), unread)
	if err != nil {
		conn.NetConn().Close()
	}
	return conn, out, err
}

// publish says something, at the time at which it was due. Without a connection the message counts as unsent. It is called by the
// pace alone, so that one buffer serves every member.
func (m *member) publish(due time.Time) {
	h, n := m.house, m.house.n
	n.due.Inc()
	n.room(n.roomDue, m.room).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out == nil {
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
	h.frame = danmaku.AppendMasked(h.frame[:0], danmaku.TextFrame, h.line, h.masks.Uint32())
	switch givenUp, overdue := m.pending.add(m.id, due); {
	case !givenUp:
		n.inFlight.Add(1)
	default:
		n.published["unanswered"].Inc()
		h.m.Failed[loadgen.Unanswered].Inc()
		if !overdue {
			n.bad.Inc()
		}
	}
	n.sent.Inc()
	_ = m.out.Write(h.frame, nil) // a connection that broke is seen by its reader, and cuts what is pending
}

// expire judges what has waited too long for its answer.
func (m *member) expire(before time.Time) {
	m.mu.Lock()
	n := m.pending.expire(before)
	m.mu.Unlock()
	m.house.n.bad.Add(float64(n))
}

// ping says that a member who only listens is still there.
func (m *member) ping(mask uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out != nil {
		_ = m.out.Write(danmaku.AppendMasked(nil, danmaku.PingFrame, nil, mask), nil)
	}
}

// OnPing answers the server.
func (m *member) OnPing(_ *gws.Conn, payload []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out != nil {
		_ = m.out.Write(danmaku.AppendMasked(nil, danmaku.PongFrame, payload, 0), nil)
	}
}

// OnClose ends the reading; sit does the rest.
func (m *member) OnClose(*gws.Conn, error) {}

// OnMessage takes in what the server says, line by line.
func (m *member) OnMessage(_ *gws.Conn, message *gws.Message) {
	defer message.Close()
	now := time.Now()
	rest := message.Bytes()
	delivered := uint64(0)
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
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
	m.mu.Lock()
	due, overdue, known := m.pending.take(id)
	m.mu.Unlock()
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
	}
	if !accepted {
		n.published["rejected"].Inc()
		m.house.m.Failed[loadgen.Refused].Inc()
		return
	}
	n.ack.Observe(now.Sub(due).Seconds())
	n.published["accepted"].Inc()
	n.room(n.roomAccepted, m.room).Inc()
	n.owed.Add(uint64(max(0, int64(m.house.size[m.room])-m.house.away[m.room].Load())))
}
