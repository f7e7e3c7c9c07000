package rtc

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"github.com/livedrill/livedrill/target/flv"
)

// The types of NAL units that matter here (ITU-T H.264, table 7-1).
const (
	nalIDR = 5
	nalSPS = 7
	nalPPS = 8
)

var startCode = []byte{0, 0, 0, 1}

// errMalformed is what was sent, as against the connection.
var errMalformed = errors.New("malformed H.264")

// Units walks the NAL units of an access unit with four-byte lengths before them.
func Units(avcc []byte, do func(nal []byte)) error {
	for len(avcc) > 0 {
		if len(avcc) < 4 {
			return errMalformed
		}
		n := binary.BigEndian.Uint32(avcc)
		if uint64(n) > uint64(len(avcc)-4) {
			return errMalformed
		}
		if n > 0 {
			do(avcc[4 : 4+n])
		}
		avcc = avcc[4+n:]
	}
	return nil
}

// AsksForKey tells whether a receiver asks for a key frame (RFC 4585, 6.3.1; RFC 5104, 4.3.1).
func AsksForKey(p rtcp.Packet) bool {
	switch p.(type) {
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
		return true
	}
	return false
}

// AnnexB turns FLV's frames into what RTP is cut from: start codes, and the parameter sets before each key frame.
type AnnexB struct{ parameters []byte }

// Configure takes the decoder configuration of a stream (ISO/IEC 14496-15, 5.3.3.1).
func (a *AnnexB) Configure(t flv.Tag) error {
	a.parameters = nil
	if len(t.Data) < 5+6 {
		return errMalformed
	}
	rest := t.Data[5+5:]
	for _, mask := range []byte{0x1f, 0xff} {
		if len(rest) < 1 {
			return errMalformed
		}
		count := int(rest[0] & mask)
		rest = rest[1:]
		for range count {
			if len(rest) < 2 {
				return errMalformed
			}
			n := int(binary.BigEndian.Uint16(rest))
			if len(rest) < 2+n {
				return errMalformed
			}
			a.parameters = append(append(a.parameters, startCode...), rest[2:2+n]...)
			rest = rest[2+n:]
		}
	}
	return nil
}

// Frame gives a frame's access unit. It is a copy.
func (a *AnnexB) Frame(t flv.Tag) ([]byte, error) {
	var out []byte
	if t.IsKey() {
		out = append(out, a.parameters...)
	}
	err := Units(t.Data[5:], func(nal []byte) { out = append(append(out, startCode...), nal...) })
	return out, err
}

// A packet that is missing is waited for for a second, as long as no more than so many came after it: a key frame of 2 MB.
const maxLate = 2048

// Frames puts the frames of an RTP stream together and gives them as FLV tags, with the decoder configuration whenever it changes.
type Frames struct {
	builder    *samplebuilder.SampleBuilder
	sps, pps   []byte
	configured bool
	begun      bool
	before     uint32        // RTP time of the frame before
	at         time.Duration // moment of the newest frame

	Lost uint64 // packets that never came
}

// NewFrames begins a stream at a moment.
func NewFrames(from time.Duration) *Frames {
	return &Frames{at: from, builder: samplebuilder.New(maxLate, &codecs.H264Packet{IsAVC: true}, H264.ClockRate, samplebuilder.WithMaxTimeDelay(time.Second))}
}

// Push takes a packet in and hands on every tag that is whole with it.
func (f *Frames) Push(p *rtp.Packet, do func(flv.Tag)) {
	f.builder.Push(p)
	for s := f.builder.Pop(); s != nil; s = f.builder.Pop() {
		f.Lost += uint64(s.PrevDroppedPackets)
		f.frame(s.Data, s.PacketTimestamp, do)
	}
}

func (f *Frames) frame(avcc []byte, rtpTime uint32, do func(flv.Tag)) {
	key, changed := false, false
	body := make([]byte, 5, 5+len(avcc))
	err := Units(avcc, func(nal []byte) {
		switch nal[0] & 0x1f {
		case nalSPS:
			changed = changed || string(f.sps) != string(nal)
			f.sps = append(f.sps[:0], nal...)
			return
		case nalPPS:
			changed = changed || string(f.pps) != string(nal)
			f.pps = append(f.pps[:0], nal...)
			return
		case nalIDR:
			key = true
		}
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(nal))), nal...)
	})
	if err != nil || len(body) == 5 {
		if changed {
			f.configured = false
		}
		return
	}
	if f.begun {
		f.at += time.Duration(int32(rtpTime-f.before)) * time.Second / time.Duration(H264.ClockRate)
	}
	f.begun, f.before = true, rtpTime
	stamp := uint32(max(0, f.at) / time.Millisecond)
	if changed {
		f.configured = false
	}
	if !f.configured && key && len(f.sps) > 3 && len(f.pps) > 0 {
		do(flv.Tag{Type: flv.Video, Timestamp: stamp, Data: f.configuration()})
		f.configured = true
	}
	if !f.configured {
		return
	}
	body[0], body[1] = 0x27, 1 // AVC, an inter frame; NAL units, with no time between decoding and picture
	if key {
		body[0] = 0x17
	}
	do(flv.Tag{Type: flv.Video, Timestamp: stamp, Data: body})
}

// configuration is the stream's AVCDecoderConfigurationRecord as FLV has it.
func (f *Frames) configuration() []byte {
	out := []byte{0x17, 0, 0, 0, 0, 1, f.sps[1], f.sps[2], f.sps[3], 0xff, 0xe1}
	out = append(binary.BigEndian.AppendUint16(out, uint16(len(f.sps))), f.sps...)
	out = append(out, 1)
	return append(binary.BigEndian.AppendUint16(out, uint16(len(f.pps))), f.pps...)
}
