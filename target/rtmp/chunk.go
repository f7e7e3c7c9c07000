package rtmp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// message is one RTMP message (RTMP 1.0, section 5.3).
type message struct {
	kind      byte
	timestamp uint32
	stream    uint32
	body      []byte
}

const (
	defaultChunk = 128 // until the other side says otherwise, 5.4.1
	ourChunk     = 64 << 10
	maxChunk     = 16 << 20
	maxMessage   = 8 << 20
	maxCommand   = 64 << 10 // a message of somebody who has not said yet what it wants
	atOnce       = 64 << 10 // that a message grows by, whatever size it claims
	maxStreams   = 64       // chunk streams of one connection
	extended     = 0xffffff
)

// chunkReader puts messages together from chunks (5.3.1).
type chunkReader struct {
	in      *bufio.Reader
	size    int
	most    int // size of a message
	begun   int // bytes of messages that are not whole yet
	streams map[uint32]*chunkStream
	read    uint32 // bytes so far, for acknowledgements; wraps as the protocol's own counter does
}

type chunkStream struct {
	message
	delta    uint32
	length   int
	extended bool
	begun    bool
}

func newChunkReader(in *bufio.Reader) *chunkReader {
	return &chunkReader{in: in, size: defaultChunk, most: maxMessage, streams: map[uint32]*chunkStream{}}
}

func (r *chunkReader) bytes(n int) ([]byte, error) {
	b, err := r.in.Peek(n)
	if err != nil {
		return nil, err
	}
	if _, err := r.in.Discard(n); err != nil {
		return nil, err
	}
	r.read += uint32(n)
	return b, nil
}

// next returns the next whole message.
func (r *chunkReader) next() (message, error) {
	for {
		s, err := r.header()
		if err != nil {
			return message{}, err
		}
		for rest := min(s.length-len(s.body), r.size); rest > 0; {
			from, n := len(s.body), min(rest, atOnce)
			s.body = slices.Grow(s.body, n)[:from+n]
			if _, err := io.ReadFull(r.in, s.body[from:]); err != nil {
				return message{}, err
			}
			r.read += uint32(n)
			rest -= n
			if r.begun += n; r.begun > 2*r.most {
				return message{}, fmt.Errorf("%w: %d bytes of messages, and none of them whole", ErrMalformed, r.begun)
			}
		}
		if len(s.body) == s.length {
			out := s.message
			r.begun -= s.length
			s.body, s.begun = nil, false
			return out, nil
		}
	}
}

// header reads the basic and the message header of a chunk (5.3.1.1, 5.3.1.2).
func (r *chunkReader) header() (*chunkStream, error) {
	b, err := r.bytes(1)
	if err != nil {
		return nil, err
	}
	format, id := b[0]>>6, uint32(b[0]&63)
	switch id {
	case 0:
		if b, err = r.bytes(1); err != nil {
			return nil, err
		}
		id = uint32(b[0]) + 64
	case 1:
		if b, err = r.bytes(2); err != nil {
			return nil, err
		}
		id = uint32(b[1])<<8 + uint32(b[0]) + 64
	}
	s := r.streams[id]
	if s == nil {
		if format == 3 || len(r.streams) >= maxStreams {
			return nil, fmt.Errorf("%w: chunk stream %d", ErrMalformed, id)
		}
		s = &chunkStream{}
		r.streams[id] = s
	}
	if s.begun && format != 3 {
		return nil, fmt.Errorf("%w: a message began inside another", ErrMalformed)
	}
	if err := r.messageHeader(s, format); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *chunkReader) messageHeader(s *chunkStream, format byte) error {
	b, err := r.bytes([]int{11, 7, 3, 0}[format])
	if err != nil {
		return err
	}
	if format < 3 {
		s.delta = uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
		s.extended = s.delta == extended
	}
	if format < 2 {
		s.length = int(b[3])<<16 | int(b[4])<<8 | int(b[5])
		s.kind = b[6]
	}
	if format == 0 {
		s.stream = binary.LittleEndian.Uint32(b[7:])
	}
	if s.length > r.most {
		return fmt.Errorf("%w: message of %d bytes", ErrMalformed, s.length)
	}
	if s.extended { // repeated in chunks of type 3 (5.3.1.3)
		if b, err = r.bytes(4); err != nil {
			return err
		}
		s.delta = binary.BigEndian.Uint32(b)
	}
	if s.begun {
		return nil
	}
	if format == 0 {
		s.timestamp = s.delta
		s.delta = 0
	} else {
		s.timestamp += s.delta
	}
	s.begun = true
	s.body = make([]byte, 0, min(s.length, atOnce))
	return nil
}

// appendMessage writes a message as chunks behind dst: a full header, then continuations.
func appendMessage(dst []byte, chunkStream byte, m message, chunk int) []byte {
	stamp := min(m.timestamp, extended)
	n := len(m.body)
	dst = append(dst, chunkStream, byte(stamp>>16), byte(stamp>>8), byte(stamp), byte(n>>16), byte(n>>8), byte(n), m.kind)
	dst = binary.LittleEndian.AppendUint32(dst, m.stream)
	if stamp == extended {
		dst = binary.BigEndian.AppendUint32(dst, m.timestamp)
	}
	for body := m.body; ; {
		k := min(len(body), chunk)
		dst = append(dst, body[:k]...)
		if body = body[k:]; len(body) == 0 {
			return dst
		}
		dst = append(dst, 0xc0|chunkStream)
		if stamp == extended {
			dst = binary.BigEndian.AppendUint32(dst, m.timestamp)
		}
	}
}
