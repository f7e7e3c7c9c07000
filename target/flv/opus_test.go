package flv

import "testing"

func TestOpus(t *testing.T) {
	tag := OpusTag(40, []byte{1, 2, 3})
	if got := tag.Opus(); string(got) != "\x01\x02\x03" || tag.Timestamp != 40 || !tag.IsOpus() || tag.IsAudioHeader() || tag.IsAAC() {
		t.Errorf("%v of %+v", got, tag)
	}
	if !OpusHeader.IsAudioHeader() || OpusHeader.Opus() != nil {
		t.Error("the header is none")
	}
	for _, other := range []Tag{{Type: Audio, Data: []byte{0xaf, 1, 0x21}}, {Type: Audio}, {Type: Audio, Data: []byte{0x91, 'O', 'p'}}, {Type: Video, Data: tag.Data}} {
		if other.IsOpus() || other.Opus() != nil {
			t.Errorf("%+v is no Opus", other)
		}
	}
}

// TestSoundHub has a newcomer hear at once, where no picture ever comes, and one that falls behind hear on.
func TestSoundHub(t *testing.T) {
	hub := NewSoundHub()
	hub.Publish(OpusHeader)
	sub := hub.Subscribe()
	defer sub.Close()
	for n := range queueLimit + 10 {
		hub.Publish(OpusTag(uint32(n), []byte{1}))
	}
	tags := sub.Next(t.Context())
	if _, dropped := sub.Backlog(); dropped == 0 || len(tags) == 0 || tags[len(tags)-1].Timestamp != queueLimit+9 {
		t.Errorf("%d tags, %d dropped", len(tags), dropped)
	}
}
