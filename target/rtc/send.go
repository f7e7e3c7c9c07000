package rtc

import (
	"errors"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/transport/v4/packetio"
)

// HasSound tells whether the server wants sound.
func (s *Sender) HasSound() bool { return s.sound != nil }

// Picture adds the pieces of a picture (Cut) to what Send sends; last: they are its last ones.
func (s *Sender) Picture(at time.Duration, last bool, pieces ...[]byte) error {
	return s.put(s.picture, at, last, pieces)
}

// Sound adds a packet of Opus.
func (s *Sender) Sound(at time.Duration, packet []byte) error {
	return s.put(s.sound, at, false, [][]byte{packet})
}

func (s *Sender) put(st *stream, at time.Duration, last bool, pieces [][]byte) error {
	s.mu.Lock() // of what is kept
	defer s.mu.Unlock()
	for i, piece := range pieces {
		s.plain = st.append(s.plain[:0], at, last && i == len(pieces)-1, piece)
		slot := st.slot(st.sequence)
		packet, err := s.out.EncryptRTP((*slot)[:0], s.plain, nil)
		if err != nil {
			return err
		}
		*slot = packet
		if s.waiting = append(s.waiting, packet); len(s.waiting) == keptSound { // what waits must not be written over
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// reportEvery is how often a receiver is told when what was sent (RFC 3550, 6.2).
const reportEvery = time.Second

// Send sends what was added, and a report now and then. It gives how many packets found no room in the kernel: they are lost.
func (s *Sender) Send(now time.Time) (lost int, err error) {
	if now.Sub(s.reported) > reportEvery {
		s.reported = now
		packets := []rtcp.Packet{s.picture.report(now)}
		if s.sound != nil {
			packets = append(packets, s.sound.report(now))
		}
		plain, err := rtcp.Marshal(packets)
		if err != nil {
			return 0, err
		}
		packet, err := s.out.EncryptRTCP(nil, plain, nil)
		if err != nil {
			return 0, err
		}
		s.waiting = append(s.waiting, packet)
	}
	err = s.flush()
	lost, s.unsent = s.unsent, 0
	return lost, err
}

func (s *Sender) flush() (err error) {
	defer func() { s.waiting = s.waiting[:0] }()
	if s.batch == nil {
		for _, packet := range s.waiting {
			_, err := s.conn.Write(packet)
			if errors.Is(err, packetio.ErrFull) {
				s.unsent++
			} else if err != nil {
				return err
			}
		}
		return nil
	}
	for _, packet := range s.waiting {
		s.batch.add(packet)
	}
	lost, err := s.batch.send()
	s.unsent += lost
	return err
}
