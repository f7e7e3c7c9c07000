package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lxzan/gws"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/danmaku"
)

// talker says one thing and waits for the answer, and to read it in the room.
type talker struct {
	gws.BuiltinEventHandler
	from        []byte
	acked, read bool
	refused     error
	done        chan struct{} // closed by the reader
}

// chat joins a room, says something and hears it.
func (p *person) chat(ctx context.Context) error {
	name := fmt.Sprintf("p%d-%d", p.m.Start.Unix()%1e6, p.number)
	address, err := loadgen.URL(p.on, p.assigned.Danmaku, "ws", fmt.Sprintf("/ws?room=%s-%d&as=%s", p.m.Name, p.number%uint64(p.Rooms), name))
	if err != nil {
		return err
	}
	t := &talker{from: []byte(name), done: make(chan struct{})}
	conn, _, err := gws.NewClient( //nolint:bodyclose // the answer to an upgrade has no body
		t, &gws.ClientOption{Addr: address, HandshakeTimeout: limit, ReadMaxPayloadSize: 8 << 20, Recovery: gws.Recovery})
	if err != nil {
		return err
	}
	go func() {
		defer close(t.done)
		conn.ReadLoop()
	}()
	stop := context.AfterFunc(ctx, func() { conn.NetConn().Close() })
	defer stop()
	late := time.AfterFunc(limit, func() { conn.NetConn().Close() })
	defer late.Stop()
	err = conn.WriteMessage(gws.OpcodeText, fmt.Appendf(nil, "pub 1 %d hello from %s", time.Now().UnixMicro(), name))
	<-t.done
	switch {
	case t.acked && t.read:
		return nil
	case t.refused != nil:
		return t.refused
	case err != nil:
		return err
	default:
		return fmt.Errorf("acknowledged: %v, seen in the room: %v", t.acked, t.read)
	}
}

// OnMessage takes in what the server says, until both the answer and the message are there.
func (t *talker) OnMessage(conn *gws.Conn, message *gws.Message) {
	defer message.Close()
	for line := range bytes.SplitSeq(message.Bytes(), []byte{'\n'}) {
		verb, args, _ := bytes.Cut(line, []byte{' '})
		first, _, _ := bytes.Cut(args, []byte{' '})
		switch string(verb) {
		case "ack":
			id, ok := danmaku.Number(first)
			t.acked = t.acked || ok && id == 1
		case "nak":
			t.refused = errors.New("refused: " + string(args))
		case "msg":
			t.read = t.read || bytes.Equal(first, t.from)
		}
	}
	if t.acked && t.read || t.refused != nil {
		conn.WriteClose(1000, nil)
		conn.NetConn().Close()
	}
}

// OnClose ends the reading; chat does the rest.
func (t *talker) OnClose(*gws.Conn, error) {}
