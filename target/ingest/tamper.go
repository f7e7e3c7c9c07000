package ingest

import (
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// told makes newcomers get nothing from before, where key frames are to be lost.
func (s *server) told(t target.Tampering) {
	if !t.NoKeyFrames {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hub := range s.streams {
		hub.Forget()
	}
}

// tampered is how far one stream is from what its publisher sent. It goes back to that when nothing is done to it any more.
type tampered struct {
	began    time.Time // of a drift
	filled   time.Time // when the bucket of a bit rate was filled last
	bits     float64   // that are in it
	dropping bool      // up to the next key frame
}

// unknownCodec is the number that HEVC has in some dialects of FLV (E.4.3.1 knows no codec 12): players of H.264 show nothing.
const unknownCodec = 12

// apply does it to one tag, and tells whether the tag goes on. Headers of codecs always do: a newcomer needs them.
func (d *tampered) apply(t target.Tampering, tag flv.Tag) (flv.Tag, bool) {
	header := tag.IsVideoHeader() || tag.IsAudioHeader() || tag.Type == flv.Script
	switch {
	case t.Stall && !header,
		t.NoKeyFrames && tag.IsKey(),
		t.NoAudio && tag.Type == flv.Audio && !header,
		!header && !d.fits(t.Bitrate, tag):
		return tag, false
	}
	shift := t.Jump.Milliseconds()
	if t.Drift == 0 {
		d.began = time.Time{}
	} else {
		if d.began.IsZero() {
			d.began = time.Now()
		}
		shift += int64(t.Drift * float64(time.Since(d.began).Milliseconds()))
	}
	if tag.Type == flv.Audio {
		shift += t.Skew.Milliseconds()
	}
	tag.Timestamp = uint32(max(int64(tag.Timestamp)+shift, 0))
	if t.Codec && tag.IsVideo() && !tag.IsVideoHeader() {
		data := append([]byte(nil), tag.Data...) // others have the same bytes
		data[0] = data[0]&0xf0 | unknownCodec
		tag.Data = data
	}
	return tag, true
}

// fits tells whether a tag has room in a bit rate: a publisher whose line is too narrow sends its sound, and gives up pictures up to the
// next key frame.
func (d *tampered) fits(rate float64, tag flv.Tag) bool {
	if rate == 0 {
		d.filled, d.bits, d.dropping = time.Time{}, 0, false
		return true
	}
	now := time.Now()
	if !d.filled.IsZero() {
		d.bits = min(d.bits+rate*now.Sub(d.filled).Seconds(), rate) // a second's worth at most
	}
	d.filled = now
	if tag.IsVideo() {
		switch {
		case d.bits < 0:
			d.dropping = true
		case tag.IsKey():
			d.dropping = false
		}
		if d.dropping {
			return false
		}
	}
	d.bits -= 8 * float64(len(tag.Data))
	return true
}
