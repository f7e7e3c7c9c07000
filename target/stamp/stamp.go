// Package stamp puts a frame's send time inside the video itself and reads it again, after any number of transcoders, at
// the viewer. The stamp is an SEI message of type user_data_unregistered (ITU-T H.264, D.1.7), which encoders can pass on.
// Its payload is ASCII, so it never needs emulation prevention bytes (7.4.1). AAC carries the same payload, as long as it is not encoded anew.
package stamp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// uuid marks our messages.
const uuid = "livedrill-stamp\x01"

const (
	payloadSize = len(uuid) + 16
	seiNAL      = 6
	userData    = 5
)

// NALSize is the size of a stamp as a NAL unit, without length or start code.
const NALSize = 3 + payloadSize + 1

// AppendNAL writes the stamp of a frame that is sent at t.
func AppendNAL(dst []byte, t time.Time) []byte {
	dst = append(dst, seiNAL, userData, byte(payloadSize))
	return append(appendPayload(dst, t), 0x80) // rbsp_trailing_bits
}

// ElementSize is the size of a stamp in sound.
const ElementSize = 2 + payloadSize

// AppendElement writes the stamp of sound that is sent at t: a data stream element (ISO/IEC 14496-3, 4.4.2.7), which decoders pass over. It goes
// before the other elements of an AAC frame, and is whole bytes.
func AppendElement(dst []byte, t time.Time) []byte {
	const id, tag, aligned = 4 << 5, 13 << 1, 1
	dst = append(dst, id|tag|aligned, byte(payloadSize))
	return appendPayload(dst, t)
}

func appendPayload(dst []byte, t time.Time) []byte {
	dst = append(dst, uuid...)
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(t.UnixMicro()))
	return hex.AppendEncode(dst, raw[:])
}

// Find returns the first stamp in a piece of H.264 or AAC in any packing, or false.
func Find(data []byte) (time.Time, bool) {
	i := bytes.Index(data, []byte(uuid))
	if i < 0 || len(data) < i+payloadSize {
		return time.Time{}, false
	}
	var raw [8]byte
	if _, err := hex.Decode(raw[:], data[i+len(uuid):i+payloadSize]); err != nil {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(raw[:]))), true
}
