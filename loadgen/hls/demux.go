package hls

// packetSize and syncByte are those of MPEG-TS (ISO/IEC 13818-1, 2.4.3).
const (
	packetSize = 188
	syncByte   = 0x47
)

// videoFrames hands each video access unit of a segment to do, in the order of sending. It looks at no more than that
// needs; what is no MPEG-TS gives no frames. The number of packets out of sync is returned.
func videoFrames(ts []byte, do func(frame []byte)) (broken int) {
	pid := -1
	var frame []byte
	for ; len(ts) >= packetSize; ts = ts[packetSize:] {
		p := ts[:packetSize]
		if p[0] != syncByte {
			broken++
			continue
		}
		start := p[1]&0x40 != 0
		id := int(p[1]&0x1f)<<8 | int(p[2])
		at := 4
		if p[3]&0x20 != 0 { // adaptation field
			at += 1 + int(p[4])
		}
		if p[3]&0x10 == 0 || at >= packetSize {
			continue
		}
		payload := p[at:]
		if start && len(payload) > 9 && payload[0] == 0 && payload[1] == 0 && payload[2] == 1 && payload[3]&0xf0 == 0xe0 {
			if len(frame) > 0 {
				do(frame)
			}
			pid, frame = id, frame[:0]
			header := 9 + int(payload[8]) // 2.4.3.6
			frame = append(frame, payload[min(header, len(payload)):]...)
		} else if id == pid && !start {
			frame = append(frame, payload...)
		}
	}
	if len(frame) > 0 {
		do(frame)
	}
	return broken
}
