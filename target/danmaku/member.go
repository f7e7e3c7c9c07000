package danmaku

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/livedrill/livedrill/target/poll"
)

// member is one connection.
type member struct {
	server *server
	conn   *poll.Conn
	room   *room
	from   []byte // its name in messages
	frames Frames
	heard  time.Time // about when it said something
	ended  bool      // it has its close frame (RFC 6455, 5.5.1)

	mu   sync.Mutex
	acks []byte // answers for the next tick
	head []byte // their frame
}

// sit lets the member in. early is what it said before it was.
func (m *member) sit(ctx context.Context, room string, fd int, early []byte) {
	conn, err := m.server.poll.Add(fd, unread, m)
	if err != nil {
		slog.Error("websocket", "err", err)
		return
	}
	m.conn, m.heard = conn, time.Now()
	m.room = m.server.enter(room, m)
	m.server.connections.Inc()
	if ctx.Err() != nil {
		m.end(ws.StatusGoingAway)
		return
	}
	m.Read(early, nil)
}

// Read is part of poll.Reader.
func (m *member) Read(data []byte, err error) {
	if err != nil {
		m.leave()
		return
	}
	m.heard = time.Now()
	for m.frames.Feed(data); !m.ended; {
		opcode, payload, ok, err := m.frames.Next()
		switch {
		case errors.Is(err, ErrTooLarge):
			m.end(ws.StatusMessageTooBig)
		case err != nil:
			m.end(ws.StatusProtocolError)
		case !ok:
			return
		case opcode == PingFrame:
			_ = m.conn.Write(AppendFrame(nil, PongFrame, payload), nil) // one that has gone needs none
		case opcode == CloseFrame:
			m.end(ws.StatusNormalClosure)
		case opcode == PongFrame: // nobody asked for one (5.5.3)
		case !utf8.Valid(payload): // it would go out as text, whatever it came as
			m.end(ws.StatusInvalidFramePayloadData)
		default:
			m.says(payload)
		}
	}
}

// says takes a message into the room's next batch.
func (m *member) says(line []byte) {
	p, err := parse(line)
	reason := "malformed"
	if err == nil {
		if m.room.add(m, p) {
			return
		}
		reason = "busy"
	}
	m.server.rejected.Inc()
	m.answer("nak", p.id, reason)
	_ = m.send(nil) // one that has gone needs none
}

// end tells the member why it is over for it, and throws it out.
func (m *member) end(code ws.StatusCode) {
	m.ended = true
	_ = m.conn.Write(AppendFrame(nil, CloseFrame, binary.BigEndian.AppendUint16(nil, uint16(code))), nil) // it may have gone
	m.conn.Close()
	m.leave()
}

func (m *member) leave() {
	m.server.connections.Dec()
	m.server.leave(m)
}

// answer queues "ack ID" or "nak ID REASON" for the member.
func (m *member) answer(verb string, id uint64, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acks = append(m.acks, verb...)
	m.acks = append(m.acks, ' ')
	m.acks = strconv.AppendUint(m.acks, id, 10)
	if reason != "" {
		m.acks = append(m.acks, ' ')
		m.acks = append(m.acks, reason...)
	}
	m.acks = append(m.acks, '\n')
}

// send writes the queued answers in one frame, then another frame, which may be nil.
func (m *member) send(frame []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.acks) == 0 {
		if frame == nil {
			return nil
		}
		return m.conn.Write(frame, nil)
	}
	m.head = AppendFrame(m.head[:0], TextFrame, m.acks[:len(m.acks)-1])
	m.acks = m.acks[:0]
	return m.conn.Write(m.head, frame)
}
