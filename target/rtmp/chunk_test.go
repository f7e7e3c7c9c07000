package rtmp

import (
	"bufio"
	"bytes"
	"errors"
	"testing"
)

// TestUnfinishedMessages of many chunk streams are not collected without end.
func TestUnfinishedMessages(t *testing.T) {
	var in []byte
	for id := range byte(60) {
		in = append(in, id+3, 0, 0, 0, 0, 0xf0, 0, 9, 1, 0, 0, 0) // 61,440 bytes to come
		in = append(in, make([]byte, 60_000)...)
	}
	r := newChunkReader(bufio.NewReader(bytes.NewReader(in)))
	r.size, r.most = 60_000, maxCommand
	if _, err := r.next(); !errors.Is(err, ErrMalformed) || r.begun > 2*maxCommand+60_000 {
		t.Errorf("%v with %d bytes", err, r.begun)
	}
}

// TestWholeMessagesAreForgotten in what is counted of unfinished ones.
func TestWholeMessagesAreForgotten(t *testing.T) {
	var in []byte
	for range 100 {
		in = appendMessage(in, onVideo, message{kind: 9, stream: 1, body: make([]byte, 50_000)}, defaultChunk)
	}
	r := newChunkReader(bufio.NewReader(bytes.NewReader(in)))
	r.most = maxCommand
	for n := range 100 {
		if _, err := r.next(); err != nil || r.begun != 0 {
			t.Fatalf("message %d: %v, %d bytes", n, err, r.begun)
		}
	}
}
