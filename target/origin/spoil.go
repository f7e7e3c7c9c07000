package origin

import (
	"bytes"

	"github.com/livedrill/livedrill/target"
)

// told forgets the playlists of an order before.
func (s *server) told(target.Spoiling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, channel := range s.channels {
		for _, r := range channel {
			r.mu.Lock()
			r.frozen = ""
			r.mu.Unlock()
		}
	}
}

// playlistOf is a rendition's playlist; while playlists are to stay as they are, the one that was asked for first.
func (s *server) playlistOf(r *rendition) string {
	text := r.hls.playlist()
	frozen := s.spoils.Now().Frozen
	r.mu.Lock()
	defer r.mu.Unlock()
	if !frozen {
		return text
	}
	if r.frozen == "" {
		r.frozen = text
	}
	return r.frozen
}

// spoiled is a segment as it goes out: nil where it is to be missing, with wrong bytes where it is to be corrupt.
func (s *server) spoiled(number uint64, data []byte) []byte {
	now := s.spoils.Now()
	switch {
	case target.Evenly(number, now.Missing):
		return nil
	case target.Evenly(number, now.Corrupt):
		data = bytes.Clone(data) // others get it too, later
		for i := len(data) / 3; i < len(data); i += 100 {
			data[i] ^= 0xff
		}
		const packet = 188
		for i := len(data) / 3 / packet * packet; i < len(data); i += packet {
			data[i] = 0 // no packet begins so (ISO/IEC 13818-1, 2.4.3.2)
		}
	}
	return data
}
