package flv

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func frame(ts uint32, key bool) Tag {
	first := byte(0x27)
	if key {
		first = 0x17
	}
	return Tag{Type: Video, Timestamp: ts, Data: []byte{first, 1, 0, 0, 0, 1, 2, 3}}
}

func TestRoundTrip(t *testing.T) {
	in := []Tag{{Type: Script, Data: []byte("x")}, frame(0x01020304, true), {Type: Audio, Timestamp: 7, Data: []byte{0xaf, 1, 9}}}
	file := append([]byte(nil), Header...)
	for _, tag := range in {
		file = tag.Append(file)
	}
	r := NewReader(bytes.NewReader(file))
	for i, want := range in {
		got, err := r.Next()
		if err != nil || got.Type != want.Type || got.Timestamp != want.Timestamp || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("tag %d: %+v (%v), want %+v", i, got, err, want)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

func TestNewcomerStartsWithAKeyFrame(t *testing.T) {
	h := NewHub()
	h.Publish(frame(0, true))
	h.Publish(frame(40, false))
	h.Publish(frame(80, true))
	h.Publish(frame(120, false))
	s := h.Subscribe()
	tags := s.Next(t.Context())
	if len(tags) != 2 || !tags[0].IsKey() || tags[0].Timestamp != 80 {
		t.Fatalf("a newcomer got %+v", tags)
	}
}

func TestSlowReaderLosesWholeGroups(t *testing.T) {
	h := NewHub()
	s := h.Subscribe()
	const frames = queueLimit * 3
	for i := range uint32(frames) {
		h.Publish(frame(i*40, i%25 == 0))
	}
	h.Close()
	got := 0
	for tags := s.Next(t.Context()); tags != nil; tags = s.Next(t.Context()) {
		if !tags[0].IsKey() {
			t.Errorf("after a loss the reader got a frame at %d ms that it cannot decode", tags[0].Timestamp)
		}
		got += len(tags)
	}
	if _, dropped := s.Backlog(); dropped == 0 || int(dropped)+got != frames {
		t.Errorf("%d delivered and %d dropped of %d", got, dropped, frames)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(frame(1, true).Append(append([]byte(nil), Header...)))
	f.Add([]byte("FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		for {
			tag, err := r.Next()
			if err != nil {
				return
			}
			tag.IsKey()
			tag.IsVideoHeader()
			tag.IsAudioHeader()
			if tag.IsFrame() {
				tag.CompositionTime()
			}
		}
	})
}
