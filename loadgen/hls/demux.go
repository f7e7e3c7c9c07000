package hls

import "time"

// packetSize and syncByte are those of MPEG-TS (ISO/IEC 13818-1, 2.4.3).
const (
	packetSize = 188
	syncByte   = 0x47
)

// access is one access unit of a segment: a picture, or some frames of sound.
type access struct {
	pid   int
	video bool
	data  []byte

	at, decoded time.Duration // presentation and decoding time stamp, which count from anywhere
}

// demuxer takes segments apart, one after the other, in the same room.
type demuxer struct {
	open [2]access // sound and picture
}

// accessUnits hands each access unit of a segment to do, in the order in which they end. It looks at no more than that needs; what is no MPEG-TS gives
// none. What do is given is its own until it returns. The number of packets out of sync is returned.
func (d *demuxer) accessUnits(ts []byte, do func(access)) (broken int) {
	open := &d.open
	end := func(u *access) {
		if len(u.data) > 0 {
			do(*u)
		}
		u.data = u.data[:0]
	}
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
		if !start {
			for i := range open {
				if u := &open[i]; u.pid == id && len(u.data) > 0 {
					u.data = append(u.data, payload...)
				}
			}
			continue
		}
		if len(payload) < 14 || payload[0] != 0 || payload[1] != 0 || payload[2] != 1 || payload[7]&0x80 == 0 {
			continue
		}
		u := &open[0]
		switch payload[3] & 0xf0 { // stream_id (2.4.3.7)
		case 0xe0:
			u = &open[1]
			u.video = true
		case 0xc0, 0xd0:
		default:
			continue
		}
		end(u)
		u.pid, u.at = id, timeStamp(payload[9:])
		if u.decoded = u.at; payload[7]&0x40 != 0 && len(payload) >= 19 {
			u.decoded = timeStamp(payload[14:])
		}
		header := 9 + int(payload[8]) // 2.4.3.6
		u.data = append(u.data, payload[min(header, len(payload)):]...)
	}
	for i := range open {
		end(&open[i])
	}
	return broken
}

// timeStamp reads the five bytes of a time stamp, in ticks of 90 kHz (2.4.3.7).
func timeStamp(b []byte) time.Duration {
	ticks := int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4]>>1)
	return time.Duration(ticks) * time.Second / 90_000
}
