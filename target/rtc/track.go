package rtc

import (
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// mtu is what one packet may be, in bytes, so that it fits a path of 1,280 with SRTP, UDP and IPv6.
const mtu = 1200

// Track is picture or sound on its way to the other side. Its RTP time is media time, whenever a frame is sent.
type Track struct {
	*webrtc.TrackLocalStaticRTP
	packets rtp.Packetizer
	rate    int64 // ticks in a second
}

// NewPicture makes a track of H.264.
func NewPicture() (*Track, error) {
	return newTrack(H264, "video", h264Payload, &codecs.H264Payloader{})
}

// NewSound makes a track of Opus.
func NewSound() (*Track, error) { return newTrack(Opus, "audio", opusPayload, &codecs.OpusPayloader{}) }

func newTrack(codec webrtc.RTPCodecCapability, id string, payload uint8, cut rtp.Payloader) (*Track, error) {
	t, err := webrtc.NewTrackLocalStaticRTP(codec, id, "livedrill")
	if err != nil {
		return nil, err
	}
	// The connection puts its own payload type and SSRC in.
	return &Track{t, rtp.NewPacketizer(mtu, payload, 0, cut, rtp.NewRandomSequencer(), codec.ClockRate), int64(codec.ClockRate)}, nil
}

// Write sends a frame of the moment at.
func (t *Track) Write(frame []byte, at time.Duration) error {
	ms, rest := at.Milliseconds(), int64(at%time.Millisecond)
	stamp := uint32(ms*t.rate/1000 + rest*t.rate/int64(time.Second))
	for _, p := range t.packets.Packetize(frame, 0) {
		p.Timestamp = stamp
		if err := t.WriteRTP(p); err != nil {
			return err
		}
	}
	return nil
}

// Packets are the packets of Opus in an RTP stream (RFC 7587), in order: one that comes too late is left out.
type Packets struct {
	begun    bool
	sequence uint16
	before   uint32 // RTP time of the packet before
	ticks    int64  // RTP time since the first packet
	from     time.Duration

	Lost uint64 // packets that did not come in time
}

// NewPackets begins a stream at a moment.
func NewPackets(from time.Duration) *Packets { return &Packets{from: from} }

// Push takes a packet in and gives its moment, or false when it came too late.
func (o *Packets) Push(p *rtp.Packet) (at time.Duration, ok bool) {
	if o.begun {
		step := int16(p.SequenceNumber - o.sequence)
		if step <= 0 {
			return 0, false
		}
		o.Lost += uint64(step - 1)
		o.ticks += int64(int32(p.Timestamp - o.before))
	}
	o.begun, o.sequence, o.before = true, p.SequenceNumber, p.Timestamp
	rate := int64(Opus.ClockRate)
	since := time.Duration(o.ticks/rate)*time.Second + time.Duration(o.ticks%rate)*time.Second/time.Duration(rate)
	return max(0, o.from+since), len(p.Payload) > 0
}
