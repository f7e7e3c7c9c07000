package rtc

import (
	"net"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/transport/v4/packetio"
)

// pipe is what DTLS reads and writes.
type pipe struct {
	*packetio.Buffer
	conn *ice.Conn
}

func (p pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.conn.RemoteAddr(), err
}
func (p pipe) WriteTo(b []byte, _ net.Addr) (int, error) { return p.conn.Write(b) }
func (p pipe) LocalAddr() net.Addr                       { return p.conn.LocalAddr() }
func (p pipe) SetDeadline(t time.Time) error             { return p.SetReadDeadline(t) }
func (p pipe) SetWriteDeadline(time.Time) error          { return nil }

// read sorts what comes by its first byte (RFC 7983, 7), until the connection ends.
func (s *Sender) read() {
	defer func() { _ = s.pipe.Close() }() // nobody waits for more
	for buf := make([]byte, 1500); ; {
		n, err := s.conn.Read(buf)
		if err != nil {
			s.end(err)
			return
		}
		switch {
		case n > 0 && buf[0] >= 20 && buf[0] < 64:
			_, _ = s.pipe.Write(buf[:n]) // what finds no room is lost, and sent again
		case n > 0 && buf[0] >= 128 && buf[0] < 192:
			s.hear(buf[:n])
		}
	}
}

// hear takes in feedback (RFC 4585).
func (s *Sender) hear(packet []byte) {
	s.mu.Lock()
	in := s.in
	s.mu.Unlock()
	if in == nil {
		return
	}
	plain, err := in.DecryptRTCP(nil, packet, nil)
	if err != nil {
		return
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	for _, p := range packets {
		if AsksForKey(p) {
			s.AskedForKey()
		}
		nack, ok := p.(*rtcp.TransportLayerNack)
		if !ok {
			continue
		}
		for _, st := range []*stream{s.picture, s.sound} {
			if st == nil || st.ssrc != nack.MediaSSRC {
				continue
			}
			s.again(st, nack)
		}
	}
}

// again sends what was lost as it was, of each feedback no more packets than are kept.
func (s *Sender) again(st *stream, nack *rtcp.TransportLayerNack) {
	most := len(st.kept)
	var packet []byte
	for _, pair := range nack.Nacks {
		for _, sequence := range pair.PacketList() {
			s.mu.Lock() // not for longer: the camera waits
			kept, ok := st.find(sequence)
			packet = append(packet[:0], kept...)
			s.mu.Unlock()
			if !ok {
				continue
			}
			if most--; most < 0 {
				return
			}
			_, _ = s.conn.Write(packet) // it may be lost again
		}
	}
}

// end notes why the connection ended: the first reason is it.
func (s *Sender) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = why
	}
}

// Ended is why the connection has ended; nil: it has not.
func (s *Sender) Ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}
