package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/danmaku"
)

// chat joins a room, says something and waits for the answer, and to read it in the room.
func (p *person) chat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	name := fmt.Sprintf("p%d-%d", p.m.Start.Unix()%1e6, p.number)
	address, err := loadgen.URL(p.on, p.assigned.Danmaku, "ws", fmt.Sprintf("/ws?room=%s-%d&as=%s", p.m.Name, p.number%uint64(p.Rooms), name))
	if err != nil {
		return err
	}
	conn, err := danmaku.Join(ctx, address, nil)
	if err != nil {
		return err
	}
	defer conn.Leave()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.Say(fmt.Appendf(nil, "pub 1 %d hello from %s", time.Now().UnixMicro(), name)); err != nil {
		return err
	}
	for acked, read := false, false; !acked || !read; {
		lines, err := conn.Hear()
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("acknowledged: %v, seen in the room: %v: %w", acked, read, err)
		}
		for line := range bytes.SplitSeq(lines, []byte{'\n'}) {
			verb, args, _ := bytes.Cut(line, []byte{' '})
			first, _, _ := bytes.Cut(args, []byte{' '})
			switch string(verb) {
			case "ack":
				id, ok := danmaku.Number(first)
				acked = acked || ok && id == 1
			case "nak":
				return errors.New("refused: " + string(args))
			case "msg":
				read = read || string(first) == name
			}
		}
	}
	return nil
}
