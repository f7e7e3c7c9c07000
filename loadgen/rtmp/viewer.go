package rtmp

import (
	"context"
	"errors"

	"github.com/livedrill/livedrill/loadgen/audience"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/target/rtmp"
)

// audience are the viewers' settings.
func (l *Load) audience() *audience.Settings {
	return &audience.Settings{Viewers: l.Viewers, Channels: l.Channels, Streams: l.Streams, Stay: l.Stay, Stall: l.Stall, Gap: l.Gap, Patience: l.Patience}
}

// watch is how a viewer's session goes: the stream is played at the edge.
func watch(*audience.House) audience.Watch {
	return flv.Watch(func(s *audience.Session) (flv.Open, func()) {
		return func(ctx context.Context, edge string) (flv.Source, error) { return play(ctx, s, edge) }, func() {}
	})
}

func play(ctx context.Context, s *audience.Session, edge string) (flv.Source, error) {
	at, err := s.House.On.Find(edge)
	if err != nil {
		return nil, err
	}
	addr, err := at.HostPort("rtmp")
	if err != nil {
		return nil, err
	}
	conn, err := rtmp.Dial(ctx, addr, "live", timeout)
	if err != nil {
		return nil, err
	}
	s.Reached(audience.Agreed)
	p := &player{Conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}
	if err := conn.Play(s.Channel); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	s.Reached(audience.Answered)
	return p, nil
}

// player is a stream that is played.
type player struct {
	*rtmp.Conn
	stop func() bool
}

// Next is part of flv.Source.
func (p *player) Next() (flv.Tag, error) { return p.ReadTag() }

// Close is part of flv.Source.
func (p *player) Close() error {
	p.stop()
	return p.Conn.Close()
}
