package origin

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"

	"github.com/livedrill/livedrill/target/flv"
)

const (
	segmentMin = 900 // ms; a key frame after this ends a segment
	window     = 6   // segments in the playlist
	kept       = 14  // segments that can still be fetched
	clock      = 90  // MPEG-TS ticks in a millisecond
)

// segment is one file of an HLS stream.
type segment struct {
	number        uint64
	duration      float64 // seconds
	data          []byte
	discontinuity bool
}

// segmenter cuts a stream into MPEG-TS segments at key frames (RFC 8216, 3.2).
type segmenter struct {
	mu       sync.Mutex
	segments []segment
	next     uint64
	bitrate  float64 // the highest of a segment so far, bits per second

	config  h264Config
	sps     h264.SPS
	audio   *mpeg4audio.AudioSpecificConfig
	writer  *mpegts.Writer
	video   *mpegts.Track
	sound   *mpegts.Track
	buffer  bytes.Buffer
	open    bool
	from    uint32 // time stamp of the open segment's first frame
	newest  uint32
	changed bool // the next segment follows a discontinuity
}

type h264Config struct{ sps, pps []byte }

func newSegmenter() *segmenter { return &segmenter{} }

// restart forgets the open segment: the time stamps begin anew.
func (s *segmenter) restart() {
	s.open, s.changed, s.writer = false, true, nil
}

// put takes the next tag in. Tags of one stream come from one goroutine.
func (s *segmenter) put(t flv.Tag) error {
	switch {
	case t.IsVideoHeader():
		return s.configure(t.Data[5:])
	case t.IsAudioHeader():
		var audio mpeg4audio.AudioSpecificConfig
		if err := audio.Unmarshal(t.Data[2:]); err != nil {
			return fmt.Errorf("AAC configuration: %w", err)
		}
		s.audio = &audio
	case t.IsFrame() && s.config.sps != nil:
		return s.frame(t)
	case t.IsAAC() && s.open && s.sound != nil:
		return s.writer.WriteMPEG4Audio(s.sound, int64(t.Timestamp)*clock, [][]byte{t.Data[2:]})
	}
	return nil
}

// configure reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.2.4.1).
func (s *segmenter) configure(record []byte) error {
	if len(record) < 7 || record[4]&3 != 3 {
		return fmt.Errorf("%w: AVC configuration", flv.ErrMalformed)
	}
	sps, rest, ok := prefixed(record[6:])
	if !ok || len(rest) < 1 {
		return fmt.Errorf("%w: AVC configuration without parameter sets", flv.ErrMalformed)
	}
	pps, _, ok := prefixed(rest[1:])
	if !ok || len(sps) < 4 {
		return fmt.Errorf("%w: AVC configuration without parameter sets", flv.ErrMalformed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sps.Unmarshal(sps); err != nil {
		return fmt.Errorf("AVC configuration: %w", err)
	}
	if s.config.sps != nil && !bytes.Equal(s.config.sps, sps) {
		s.changed = true
	}
	s.config = h264Config{sps: sps, pps: pps}
	return nil
}

// prefixed takes one parameter set with its 16-bit length off b.
func prefixed(b []byte) (set, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(b[0])<<8 | int(b[1])
	if n == 0 || len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}

func (s *segmenter) frame(t flv.Tag) error {
	if t.IsKey() && (!s.open || t.Timestamp-s.from >= segmentMin || s.changed) {
		if err := s.cut(t.Timestamp); err != nil {
			return err
		}
	}
	if !s.open {
		return nil
	}
	units, err := s.units(t)
	if err != nil {
		return err
	}
	s.newest = t.Timestamp
	dts := int64(t.Timestamp) * clock
	return s.writer.WriteH264(s.video, dts+int64(t.CompositionTime())*clock, dts, units)
}

// units splits a frame into NAL units, with parameter sets before every key frame.
func (s *segmenter) units(t flv.Tag) ([][]byte, error) {
	var units [][]byte
	if t.IsKey() {
		units = append(units, s.config.sps, s.config.pps)
	}
	for b := t.Data[5:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: torn NAL unit", flv.ErrMalformed)
		}
		n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if n > len(b)-4 {
			return nil, fmt.Errorf("%w: NAL unit of %d bytes where %d are left", flv.ErrMalformed, n, len(b)-4)
		}
		if unit := b[4 : 4+n]; n > 0 {
			switch h264.NALUType(unit[0] & 31) {
			case h264.NALUTypeSPS, h264.NALUTypePPS, h264.NALUTypeAccessUnitDelimiter:
			default:
				units = append(units, unit)
			}
		}
		b = b[4+n:]
	}
	return units, nil
}

// cut ends the open segment and begins the next.
func (s *segmenter) cut(at uint32) error {
	if s.open {
		s.store(float64(at-s.from) / 1000)
	}
	s.buffer.Reset()
	if s.writer == nil || (s.sound == nil) != (s.audio == nil) {
		s.video = &mpegts.Track{Codec: &codecs.H264{}}
		tracks := []*mpegts.Track{s.video}
		if s.audio != nil {
			s.sound = &mpegts.Track{Codec: &codecs.MPEG4Audio{Config: *s.audio}}
			tracks = append(tracks, s.sound)
		}
		s.writer = &mpegts.Writer{W: &s.buffer, Tracks: tracks}
		if err := s.writer.Initialize(); err != nil {
			return fmt.Errorf("MPEG-TS: %w", err)
		}
	}
	if _, err := s.writer.WriteTables(); err != nil {
		return fmt.Errorf("MPEG-TS: %w", err)
	}
	s.open, s.from = true, at
	return nil
}

func (s *segmenter) store(duration float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := bytes.Clone(s.buffer.Bytes())
	s.segments = append(s.segments, segment{s.next, duration, data, s.changed && s.next > 0})
	s.next++
	s.changed = false
	s.bitrate = max(s.bitrate, float64(len(data))*8/max(duration, 0.04))
	if len(s.segments) > kept {
		s.segments = append(s.segments[:0:0], s.segments[len(s.segments)-kept:]...)
	}
}

// ready tells whether there is anything to play.
func (s *segmenter) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.segments) > 0
}

// describe gives the attributes of this rendition for the master playlist.
func (s *segmenter) describe() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("BANDWIDTH=%d,RESOLUTION=%dx%d,CODECS=\"avc1.%02x%02x%02x,mp4a.40.2\"", int(s.bitrate*1.1),
		s.sps.Width(), s.sps.Height(), s.config.sps[1], s.config.sps[2], s.config.sps[3])
}

// playlist is the media playlist (RFC 8216, 4.3.3).
func (s *segmenter) playlist() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.segments[max(0, len(s.segments)-window):]
	longest := 1.0
	for _, g := range list {
		longest = max(longest, g.duration)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%d\n",
		int(math.Ceil(longest)), list[0].number)
	for _, g := range list {
		if g.discontinuity {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		fmt.Fprintf(&b, "#EXTINF:%.3f,\n%d.ts\n", g.duration, g.number)
	}
	return b.String()
}

// segment returns the content of a segment, or nil when it is no longer or not yet there.
func (s *segmenter) segment(number uint64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if g.number == number {
			return g.data
		}
	}
	return nil
}
