package danmaku

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gobwas/ws"
)

// The opcodes of WebSocket frames (RFC 6455, 5.2).
const (
	more        = 0 // of a message that an earlier frame began
	TextFrame   = 1
	binaryFrame = 2
	CloseFrame  = 8
	PingFrame   = 9
	PongFrame   = 10
)

// AppendHeader writes the header of an unmasked frame with n bytes of payload, as servers send them (RFC 6455, 5.2).
func AppendHeader(dst []byte, opcode byte, n int) []byte { return appendHeader(dst, opcode, n, 0) }

// AppendFrame writes a whole frame as servers send it.
func AppendFrame(dst []byte, opcode byte, payload []byte) []byte {
	return append(AppendHeader(dst, opcode, len(payload)), payload...)
}

// AppendMasked writes a whole frame as clients must send it (5.3).
func AppendMasked(dst []byte, opcode byte, payload []byte, mask uint32) []byte {
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], mask)
	dst = append(appendHeader(dst, opcode, len(payload), 0x80), key[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[at:], key, 0)
	return dst
}

func appendHeader(dst []byte, opcode byte, n int, masked byte) []byte {
	switch {
	case n < 126:
		return append(dst, 0x80|opcode, masked|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0x80|opcode, masked|126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0x80|opcode, masked|127), uint64(n))
	}
}

// Frames takes what comes on a WebSocket apart (RFC 6455, 5), in whatever pieces it comes.
type Frames struct {
	Masked bool // it comes from a client (5.1)
	Limit  int  // of a message, in bytes

	in      []byte // what has come and was not taken yet
	kept    []byte // what it was copied to, as the rest had not come
	message []byte // what has come of a message in fragments (5.4)
	opcode  byte   // of that message; 0: there is none
}

// Errors of Next, by what they are called in a close frame (7.4.1).
var (
	ErrProtocol = errors.New("no WebSocket frame")
	ErrTooLarge = errors.New("a message too large")
)

// Feed takes in what has come. The bytes are changed, and kept until Next finds nothing more.
func (f *Frames) Feed(data []byte) {
	if len(f.kept) > 0 {
		f.kept = append(f.kept, data...)
		data = f.kept
	}
	f.in = data
}

// keptLimit is the largest buffer that a silent connection keeps.
const keptLimit = 4 << 10

// Next gives the next whole message, or a frame of control; the payload is good until the next call. ok is false when more has to come
// first.
func (f *Frames) Next() (opcode byte, payload []byte, ok bool, err error) {
	if f.opcode == 0 {
		f.message = nil
	}
	for {
		h, err := f.header()
		if err != nil {
			return 0, nil, false, err
		}
		if h.length == 0 || len(f.in) < h.length+h.size {
			f.keep()
			return 0, nil, false, nil
		}
		payload, f.in = f.in[h.length:h.length+h.size], f.in[h.length+h.size:]
		if f.Masked {
			ws.Cipher(payload, h.mask, 0)
		}
		switch {
		case h.opcode >= CloseFrame, h.last && h.opcode != more:
			return h.opcode, payload, true, nil
		case h.opcode != more:
			f.opcode = h.opcode
		}
		f.message = append(f.message, payload...)
		if h.last {
			opcode, f.opcode = f.opcode, 0
			return opcode, f.message, true, nil
		}
	}
}

// header is what stands before a payload (5.2).
type header struct {
	opcode byte
	last   bool // of its message
	mask   [4]byte
	length int // of the header itself; 0: it is not there yet
	size   int // of the payload
}

func (f *Frames) header() (h header, err error) {
	if len(f.in) < 2 {
		return h, nil
	}
	h.opcode, h.last = f.in[0]&15, f.in[0]&0x80 != 0
	masked, size, at := f.in[1]&0x80 != 0, uint64(f.in[1]&0x7f), 2
	control := h.opcode >= CloseFrame
	switch {
	case f.in[0]&0x70 != 0:
		return h, fmt.Errorf("%w: an extension that nobody asked for", ErrProtocol)
	case h.opcode > binaryFrame && !control || h.opcode > PongFrame:
		return h, fmt.Errorf("%w: opcode %d", ErrProtocol, h.opcode)
	case control && (size > 125 || !h.last):
		return h, fmt.Errorf("%w: a frame of control that is long or in pieces", ErrProtocol)
	case masked != f.Masked:
		return h, fmt.Errorf("%w: masked is %v", ErrProtocol, masked)
	case !control && (h.opcode == more) != (f.opcode != 0):
		return h, fmt.Errorf("%w: a piece of no message", ErrProtocol)
	}
	switch {
	case size == 126 && len(f.in) >= 4:
		size, at = uint64(binary.BigEndian.Uint16(f.in[2:])), 4
	case size == 127 && len(f.in) >= 10:
		size, at = binary.BigEndian.Uint64(f.in[2:]), 10
	case size > 125:
		return h, nil
	}
	if limit := uint64(f.Limit); size > limit || !control && uint64(len(f.message))+size > limit {
		return h, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, f.Limit)
	}
	if masked {
		if len(f.in) < at+4 {
			return h, nil
		}
		h.mask, at = [4]byte(f.in[at:]), at+4
	}
	h.length, h.size = at, int(size)
	return h, nil
}

// keep copies what was not taken to a buffer of its own, until the rest comes.
func (f *Frames) keep() {
	switch {
	case len(f.in) < keptLimit && cap(f.kept) > 2*keptLimit:
		f.kept = append([]byte(nil), f.in...)
	case len(f.in) < len(f.kept) || len(f.kept) == 0:
		f.kept = append(f.kept[:0], f.in...)
	}
	f.in = nil
}
