// Package flv reads and writes the tags of Adobe's Flash Video container (Video File Format Specification 10.1, annex E).
// A tag's body is, byte for byte, the body of an RTMP message, so the whole platform moves media as tags.
package flv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The types of a tag (E.4.1), which are those of RTMP messages.
const (
	Audio  = 8
	Video  = 9
	Script = 18
)

// MaxBody bounds a tag that is read from a network. A 4K key frame is far smaller.
const MaxBody = 8 << 20

// ErrMalformed is in the chain of every error about content, as against input and output.
var ErrMalformed = errors.New("malformed FLV")

// Tag is one unit of media. Nobody may change Data once the tag has been handed on.
type Tag struct {
	Type      byte
	Timestamp uint32 // milliseconds, wraps after 49 days
	Data      []byte
}

// Header is the file header for audio and video, followed by the size of no previous tag.
var Header = []byte{'F', 'L', 'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0}

// IsVideo, IsKey and the others look at the first bytes of a body (E.4.2.1, E.4.3.1).
func (t Tag) IsVideo() bool { return t.Type == Video && len(t.Data) >= 5 }

// IsKey tells whether the tag holds a key frame that can be decoded on its own.
func (t Tag) IsKey() bool { return t.IsVideo() && t.Data[0] == 0x17 && t.Data[1] == 1 }

// IsVideoHeader tells whether the tag is the AVC decoder configuration.
func (t Tag) IsVideoHeader() bool { return t.IsVideo() && t.Data[0] == 0x17 && t.Data[1] == 0 }

// IsAudioHeader tells whether the tag is the configuration of AAC or Opus.
func (t Tag) IsAudioHeader() bool {
	return t.Type == Audio && len(t.Data) >= 2 && t.Data[0]>>4 == 10 && t.Data[1] == 0 || t.IsOpus() && t.Data[0] == opusStart
}

// IsAAC tells whether the tag holds a coded frame of AAC.
func (t Tag) IsAAC() bool {
	return t.Type == Audio && len(t.Data) > 2 && t.Data[0]>>4 == 10 && t.Data[1] == 1
}

// IsFrame tells whether the tag holds a coded H.264 picture.
func (t Tag) IsFrame() bool { return t.IsVideo() && t.Data[0]&15 == 7 && t.Data[1] == 1 }

// CompositionTime is what is added to the time stamp for display, in milliseconds.
func (t Tag) CompositionTime() int32 {
	return int32(uint32(t.Data[2])<<24|uint32(t.Data[3])<<16|uint32(t.Data[4])<<8) >> 8
}

// Append writes the tag and its size behind dst.
func (t Tag) Append(dst []byte) []byte {
	n := len(t.Data)
	dst = append(dst, t.Type, byte(n>>16), byte(n>>8), byte(n),
		byte(t.Timestamp>>16), byte(t.Timestamp>>8), byte(t.Timestamp), byte(t.Timestamp>>24), 0, 0, 0)
	dst = append(dst, t.Data...)
	return binary.BigEndian.AppendUint32(dst, uint32(n+11))
}

// Reader reads tags one after another.
type Reader struct {
	in      io.Reader
	started bool
	head    [15]byte
}

// NewReader reads FLV from in, which should be buffered.
func NewReader(in io.Reader) *Reader { return &Reader{in: in} }

// Next returns the next tag, or io.EOF at the end of a stream.
func (r *Reader) Next() (Tag, error) {
	if !r.started {
		if err := r.header(); err != nil {
			return Tag{}, err
		}
		r.started = true
	}
	h := r.head[:11]
	if _, err := io.ReadFull(r.in, h); err != nil {
		return Tag{}, err
	}
	size := int(h[1])<<16 | int(h[2])<<8 | int(h[3])
	if h[0] != Audio && h[0] != Video && h[0] != Script {
		return Tag{}, fmt.Errorf("%w: tag of type %d", ErrMalformed, h[0])
	}
	if size > MaxBody {
		return Tag{}, fmt.Errorf("%w: tag of %d bytes", ErrMalformed, size)
	}
	t := Tag{Type: h[0], Timestamp: uint32(h[7])<<24 | uint32(h[4])<<16 | uint32(h[5])<<8 | uint32(h[6]),
		Data: make([]byte, size)}
	if _, err := io.ReadFull(r.in, t.Data); err != nil {
		return Tag{}, unexpected(err)
	}
	if _, err := io.ReadFull(r.in, r.head[:4]); err != nil {
		return Tag{}, unexpected(err)
	}
	return t, nil
}

func (r *Reader) header() error {
	h := r.head[:9]
	if _, err := io.ReadFull(r.in, h); err != nil {
		return err
	}
	if string(h[:3]) != "FLV" {
		return fmt.Errorf("%w: it begins with %q", ErrMalformed, h[:3])
	}
	offset := binary.BigEndian.Uint32(h[5:])
	if offset < 9 || offset > 1024 {
		return fmt.Errorf("%w: a header of %d bytes", ErrMalformed, offset)
	}
	_, err := io.CopyN(io.Discard, r.in, int64(offset)-9+4)
	return unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
