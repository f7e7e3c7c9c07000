package hls

import (
	"bytes"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
)

// TestAccessUnits takes apart what another's writer put together: pictures of several packets with sound between them.
func TestAccessUnits(t *testing.T) {
	ts := segment(t)
	type seen struct {
		video bool
		at    time.Duration
		ends  byte
	}
	want := []seen{{true, 1000 * time.Millisecond, 1}, {false, 1010 * time.Millisecond, 2}, {true, 1040 * time.Millisecond, 3}, {false, 1050 * time.Millisecond, 4}}
	got := map[seen]bool{}
	broken := new(demuxer).accessUnits(ts, func(u access) { got[seen{u.video, u.at.Round(time.Microsecond), u.data[len(u.data)-1]}] = true })
	if broken != 0 || len(got) != len(want) {
		t.Errorf("%d broken packets, %v", broken, got)
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("%+v is missing in %v", w, got)
		}
	}
	ts[188] = 0
	if broken := new(demuxer).accessUnits(ts, func(access) {}); broken != 1 {
		t.Errorf("%d broken packets where one is", broken)
	}
}

func segment(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	video := &mpegts.Track{Codec: &codecs.H264{}}
	sound := &mpegts.Track{Codec: &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{Type: 2, SampleRate: 44100, ChannelConfig: 1}}}
	w := &mpegts.Writer{W: &out, Tracks: []*mpegts.Track{video, sound}}
	err := w.Initialize()
	for i := range 2 {
		at := int64(1000+40*i) * 90
		if err == nil {
			err = w.WriteH264(video, at, at, [][]byte{append(bytes.Repeat([]byte{0x41}, 900), byte(2*i+1))})
		}
		if err == nil {
			err = w.WriteMPEG4Audio(sound, at+900, [][]byte{append(bytes.Repeat([]byte{0x21}, 200), byte(2*i+2))})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func FuzzAccessUnits(f *testing.F) {
	f.Add(segment(f))
	f.Fuzz(func(_ *testing.T, ts []byte) { new(demuxer).accessUnits(ts, func(access) {}) })
}
