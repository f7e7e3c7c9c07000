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
)

// pending is how many messages of one member may wait for their answer.
const pending = 1024

// pingEvery keeps a member who only listens in its room.
const pingEvery = 20 * time.Second

// member is one connection, and all that it has seen.
type member struct {
	gws.BuiltinEventHandler
	house  *house
	number int
	room   int
	seen   []seen // of each member of the room, by place

	mu   sync.Mutex
	conn *gws.Conn
	id   uint32
	due  [pending]time.Time // by id
}

// stay keeps the member in its room until ctx ends, with a pause before each new try.
func (m *member) stay(ctx context.Context, gate chan struct{}) {
	for pause := 250 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 4*time.Second) {
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := m.connect(ctx)
		<-gate
		if err != nil {
			slog.Debug("member", "number", m.number, "err", err)
			target.Wait(ctx, pause)
			continue
		}
		pause = 250 * time.Millisecond
		m.sit(ctx, conn)
	}
}

// sit reads what the room says until the connection or ctx ends.
func (m *member) sit(ctx context.Context, conn *gws.Conn) {
	m.house.n.begun.Inc()
	m.mu.Lock()
	m.conn = conn
	m.mu.Unlock()
	m.house.away[m.room].Add(-1)
	stop := context.AfterFunc(ctx, func() { conn.WriteClose(1000, nil); conn.NetConn().Close() })
	left, leave := context.WithCancel(ctx)
	alive := make(chan struct{})
	go func() {
		defer close(alive)
		for target.Wait(left, pingEvery) && conn.WritePing(nil) == nil {
		}
	}()
	conn.ReadLoop()
	leave()
	<-alive
	stop()
	m.house.away[m.room].Add(1)
	m.mu.Lock()
	m.conn = nil
	m.mu.Unlock()
	if ctx.Err() == nil {
		m.house.n.dropped.Inc()
	}
}

func (m *member) connect(ctx context.Context) (*gws.Conn, error) {
	h := m.house
	assigned, err := loadgen.Dispatch(ctx, h.client, h.on, h.m.Region)
	if err != nil {
		return nil, err
	}
	url, err := loadgen.URL(h.on, assigned.Danmaku, "ws", fmt.Sprintf("/ws?room=room-%d&as=m%d", m.room, m.number))
	if err != nil {
		return nil, err
	}
	conn, _, err := gws.NewClient( //nolint:bodyclose // the answer to an upgrade has no body
		m, &gws.ClientOption{Addr: url, HandshakeTimeout: 5 * time.Second,
			ReadMaxPayloadSize: 8 << 20, Recovery: gws.Recovery})
	return conn, err
}

// publish says something. Without a connection the message counts as unsent.
func (m *member) publish(due time.Time) {
	n := m.house.n
	n.due.Inc()
	n.room(n.roomDue, m.room).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn == nil {
		n.published["unsent"].Inc()
		m.house.m.Failed.Inc()
		return
	}
	m.id++
	m.due[m.id%pending] = due
	line := make([]byte, 0, 48+len(m.house.text))
	line = append(line, "pub "...)
	line = strconv.AppendUint(line, uint64(m.id), 10)
	line = append(line, ' ')
	line = strconv.AppendInt(line, due.UnixMicro(), 10)
	line = append(line, ' ')
	line = append(line, m.house.text...)
	m.conn.WriteAsync(gws.OpcodeText, line, nil)
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
	sender, okSender := number(from[1:])
	seq, okID := number(id)
	micros, okTime := number(at)
	if !okSender || !okID || !okTime || sender >= uint64(len(m.house.roomOf)) || m.house.roomOf[sender] != m.room {
		n.foreign.Inc()
		return 0
	}
	late, fresh := m.seen[m.house.place[sender]].take(uint32(seq))
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
	id, ok := number(first)
	m.mu.Lock()
	due := m.due[id%pending]
	known := ok && id > 0 && id <= uint64(m.id)
	m.mu.Unlock()
	switch {
	case !known:
		n.foreign.Inc()
	case accepted:
		n.ack.Observe(now.Sub(due).Seconds())
		n.published["accepted"].Inc()
		n.room(n.roomAccepted, m.room).Inc()
		n.owed.Add(uint64(max(0, int64(m.house.size[m.room])-m.house.away[m.room].Load())))
	default:
		n.published["rejected"].Inc()
		m.house.m.Failed.Inc()
	}
}

// number reads a decimal number without allocating.
func number(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
