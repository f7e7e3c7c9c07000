package rtc

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/livedrill/livedrill/target/flv"
)

// TestThereAndBack cuts FLV frames into RTP and puts them together again.
func TestThereAndBack(t *testing.T) {
	sps, pps := []byte{0x67, 0x42, 0xe0, 0x1f, 0x11}, []byte{0x68, 0xce, 0x3c}
	config := flv.Tag{Type: flv.Video, Data: (&Frames{sps: sps, pps: pps}).configuration()}
	frame := func(ts uint32, head, nal byte, n int) flv.Tag {
		body := append([]byte{head, 1, 0, 0, 0}, 0, 0, byte((n+1)>>8), byte(n+1), nal)
		return flv.Tag{Type: flv.Video, Timestamp: ts, Data: append(body, bytes.Repeat([]byte{0xab}, n)...)}
	}
	sent := []flv.Tag{frame(0, 0x17, 0x65, 5000), frame(40, 0x27, 0x41, 300), frame(80, 0x27, 0x41, 3000), frame(120, 0x17, 0x65, 4000), frame(160, 0x27, 0x41, 10)}
	var to AnnexB
	if err := to.Configure(config); err != nil {
		t.Fatal(err)
	}
	cutter := rtp.NewPacketizer(1200, 102, 1, &codecs.H264Payloader{}, rtp.NewFixedSequencer(65530), H264.ClockRate)
	from := NewFrames(0)
	var got []flv.Tag
	for _, tag := range append(sent, frame(200, 0x27, 0x41, 10)) { // a frame is whole when the next one begins
		unit, err := to.Frame(tag)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range cutter.Packetize(unit, 40*90) {
			from.Push(p, func(tag flv.Tag) { got = append(got, tag) })
		}
	}
	want := append([]flv.Tag{config}, sent...)
	if len(got) < len(want) {
		t.Fatalf("%d tags, want %d", len(got), len(want))
	}
	for i, w := range want {
		if got[i].Timestamp != w.Timestamp || !bytes.Equal(got[i].Data, w.Data) {
			t.Errorf("tag %d: %d bytes at %d ms, want %d at %d", i, len(got[i].Data), got[i].Timestamp, len(w.Data), w.Timestamp)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 0x65, 1}, []byte{0x17, 0, 0, 0, 0, 1, 0x42, 0xe0, 0x1f, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, []byte{})
	f.Fuzz(func(_ *testing.T, avcc, config []byte) {
		frames := NewFrames(0)
		frames.frame(avcc, 0, func(flv.Tag) {})
		var a AnnexB
		_ = a.Configure(flv.Tag{Type: flv.Video, Data: config})
		_, _ = a.Frame(flv.Tag{Type: flv.Video, Data: append([]byte{0x17, 1, 0, 0, 0}, avcc...)})
	})
}
