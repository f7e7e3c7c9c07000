package rtc

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"
)

// stream is one kind of media on its way out: an RTP stream (RFC 3550, 5.1) whose packets are kept for a while, in case one gets lost.
type stream struct {
	payload  byte
	rate     int64 // ticks in a second
	ssrc     uint32
	sequence uint16
	base     uint32 // RTP time of the stream's beginning
	packets  uint32 // sent
	octets   uint32
	newest   time.Duration // moment of the newest frame
	kept     [][]byte      // encrypted packets, by sequence number modulo their count, a power of two
}

// How many packets are kept: two to three seconds of picture at 500 kbit/s, and of sound.
const (
	keptPicture = 256
	keptSound   = 128
)

func newStream(payload byte, rate uint32, kept int) *stream {
	var random [10]byte
	_, _ = rand.Read(random[:])                                                                                                                           // it never fails
	return &stream{payload: payload, rate: int64(rate), ssrc: binary.BigEndian.Uint32(random[:]), sequence: binary.BigEndian.Uint16(random[4:]) & 0x7fff, // a receiver that misses the first packets must not miss a turn of the counter (RFC 3711, 3.3.1)
		base: binary.BigEndian.Uint32(random[6:]), kept: make([][]byte, kept)}
}

// tick is the RTP time of a moment.
func (s *stream) tick(at time.Duration) uint32 {
	ms, rest := at.Milliseconds(), int64(at%time.Millisecond)
	return s.base + uint32(ms*s.rate/1000+rest*s.rate/int64(time.Second))
}

// append writes the next packet; last: of its frame.
func (s *stream) append(dst []byte, at time.Duration, last bool, payload []byte) []byte {
	mark := byte(0)
	if last {
		mark = 0x80
	}
	s.sequence++
	s.packets++
	s.octets += uint32(len(payload))
	s.newest = at
	dst = append(dst, 0x80, mark|s.payload)
	dst = binary.BigEndian.AppendUint16(dst, s.sequence)
	dst = binary.BigEndian.AppendUint32(dst, s.tick(at))
	dst = binary.BigEndian.AppendUint32(dst, s.ssrc)
	return append(dst, payload...)
}

// slot is where the packet of a number is kept.
func (s *stream) slot(sequence uint16) *[]byte { return &s.kept[int(sequence)&(len(s.kept)-1)] }

// find gives a packet that was sent and is still kept.
func (s *stream) find(sequence uint16) ([]byte, bool) {
	p := *s.slot(sequence)
	return p, len(p) >= 12 && binary.BigEndian.Uint16(p[2:]) == sequence
}

// report says when what was sent (RFC 3550, 6.4.1).
func (s *stream) report(now time.Time) rtcp.Packet {
	const since1900 = 2208988800
	return &rtcp.SenderReport{SSRC: s.ssrc, NTPTime: uint64(now.Unix()+since1900)<<32 | uint64(now.Nanosecond())<<32/1e9, RTPTime: s.tick(s.newest),
		PacketCount: s.packets, OctetCount: s.octets}
}

// Cut cuts an access unit, or a part of one, into what packets carry (RFC 6184). It can be sent any number of times.
func Cut(annexB []byte) [][]byte {
	return (&codecs.H264Payloader{}).Payload(mtu-12, annexB)
}
