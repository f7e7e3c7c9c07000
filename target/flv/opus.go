package flv

// Opus, the sound of WebRTC, goes through the platform as Enhanced RTMP has it (Veovera, enhanced-rtmp-v2, "Enhanced Audio"): a head
// that says what kind of packet it is, a four-letter name, and then the packet.
const (
	opusStart = 9 << 4
	opusCoded = 9<<4 | 1
	opusName  = "Opus"
)

// OpusHeader is the configuration of a stream of Opus: an identification header (RFC 7845, 5.1) for two channels at 48 kHz.
var OpusHeader = Tag{Type: Audio, Data: append([]byte{opusStart}, opusName+"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00"...)}

// OpusTag packs one packet of Opus.
func OpusTag(timestamp uint32, packet []byte) Tag {
	data := make([]byte, 0, 1+len(opusName)+len(packet))
	data = append(append(append(data, opusCoded), opusName...), packet...)
	return Tag{Type: Audio, Timestamp: timestamp, Data: data}
}

// IsOpus tells whether the tag holds Opus, or its configuration.
func (t Tag) IsOpus() bool {
	return t.Type == Audio && len(t.Data) >= 1+len(opusName) && t.Data[0]>>4 == 9 && string(t.Data[1:1+len(opusName)]) == opusName
}

// Opus gives the packet of Opus that the tag holds; nil: it holds something else.
func (t Tag) Opus() []byte {
	if !t.IsOpus() || t.Data[0] != opusCoded {
		return nil
	}
	return t.Data[1+len(opusName):]
}
