package danmaku

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/target"
)

// channelPrefix marks the Redis channels by which the servers tell each other what was said.
const channelPrefix = "danmaku:"

// heard is the last batch that was taken in from another server: its life, and its number in that life.
type heard struct{ life, number uint64 }

// share gives Redis what came in here: to keep as the room's history, and to pass on to the other servers. Without the
// fallback both are one transaction, and an error means that nothing was kept or passed on. With it the history is a help
// that may be missing, and no error is returned.
func (s *server) share(ctx context.Context, batches []batch) error {
	fallback := s.config.Defences[target.RedisFallback]
	var pipe redis.Pipeliner
	if fallback {
		pipe = s.redis.Pipeline()
	} else {
		pipe = s.redis.TxPipeline()
	}
	for _, b := range batches {
		if len(b.fresh) == 0 {
			continue
		}
		pipe.RPush(ctx, "history:"+b.room.name, b.fresh)
		pipe.LTrim(ctx, "history:"+b.room.name, -historySize, -1)
		s.passed++
		pipe.Publish(ctx, channelPrefix+b.room.name, fmt.Sprintf("%s %d %d\n%s", s.config.Name, s.life, s.passed, b.fresh))
	}
	if pipe.Len() == 0 {
		return nil
	}
	_, err := pipe.Exec(ctx)
	if err != nil && fallback {
		s.without.Inc()
		return nil
	}
	return err
}

// subscribe takes in what other servers say until ctx ends.
func (s *server) subscribe(ctx context.Context) error {
	for ctx.Err() == nil {
		sub := s.redis.PSubscribe(ctx, channelPrefix+"*")
		stop := context.AfterFunc(ctx, func() { sub.Close() })
		for {
			message, err := sub.ReceiveMessage(ctx)
			if err != nil {
				if ctx.Err() == nil {
					slog.Warn("subscription", "err", err)
				}
				break
			}
			s.receive(message)
		}
		stop()
		sub.Close()
		target.Wait(ctx, 100*time.Millisecond)
	}
	return nil
}

func (s *server) receive(message *redis.Message) {
	head, lines, ok := strings.Cut(message.Payload, "\n")
	var from string
	var now heard
	if n, _ := fmt.Sscanf(head, "%s %d %d", &from, &now.life, &now.number); n != 3 || !ok || from == s.config.Name || !strings.HasSuffix(lines, "\n") {
		return
	}
	s.mu.Lock()
	// A pipeline whose answer did not come in time is sent again, though Redis may have passed it on: the second copy is dropped.
	if last := s.heard[from]; now.life < last.life || now.life == last.life && now.number <= last.number {
		s.mu.Unlock()
		s.repeated.Inc()
		return
	}
	s.heard[from] = now
	r := s.rooms[strings.TrimPrefix(message.Channel, channelPrefix)]
	s.mu.Unlock()
	if r != nil {
		s.relayed.Inc()
		r.relay([]byte(lines))
	}
}
