package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// SoundPacket is how long one packet of sound is heard.
const SoundPacket = 20 * time.Millisecond

// Sound is the camera's microphone for WebRTC: packets of Opus, which publishers repeat. It is read-only and may be shared.
type Sound [][]byte

// At gives packet n of an endless sound.
func (s Sound) At(n int) []byte { return s[n%len(s)] }

// LoadSound reads the sound from the cache directory, and makes it there first if it is missing.
func LoadSound(ctx context.Context, cache string) (Sound, error) {
	return cached(ctx, filepath.Join(cache, "sound-1.ogg"), func(out string) []string {
		return []string{"-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
			"-t", strconv.FormatFloat(length.Seconds(), 'f', -1, 64), "-c:a", "libopus", "-b:a", "64k", "-ac", "2",
			"-frame_duration", "20", "-page_duration", "20000", "-f", "ogg", out} // a page holds one packet
	}, parseSound)
}

func parseSound(data []byte) (Sound, error) {
	r, _, err := oggreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var s Sound
	for {
		packet, _, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(packet, []byte("OpusTags")) {
			s = append(s, packet)
		}
	}
	if len(s) < int(length/SoundPacket)/2 {
		return nil, fmt.Errorf("%d packets of sound", len(s))
	}
	return s, nil
}
