package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/poll"
)

// TestCrumbs gives a server up that says one message byte by byte for ever, and not one that says many messages so.
func TestCrumbs(t *testing.T) {
	said := appendMessage(nil, onControl, message{kind: acknowledge, body: make([]byte, 4)}, defaultChunk)
	h := &heard{Conn: &Conn{chunks: newChunkReader(nil)}}
	for range 100 {
		for _, b := range said {
			h.in = append(h.in, b)
			if _, err := h.next(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var err error
	n := 0
	h.chunks.size = 1 << 20
	for said = appendMessage(nil, onControl, message{kind: acknowledge, body: make([]byte, 60_000)}, 1<<20); err == nil && n < 1000; n++ {
		h.in = append(h.in, said[n])
		_, err = h.next()
	}
	if !errors.Is(err, ErrMalformed) || n > mostPieces+1 {
		t.Errorf("%v after %d bytes", err, n)
	}
}

// TestPolledPublisher publishes on a poller to a server that asks for signs of life and acknowledgements, byte by byte, and says goodbye or nonsense.
func TestPolledPublisher(t *testing.T) {
	for name, last := range map[string][]byte{
		"goodbye":  nil,
		"nonsense": {0xc7}, // the rest of a message that never began
		"too much": appendMessage(nil, onCommand, message{kind: commandAMF0, body: make([]byte, maxCommand+1)}, ourChunk),
	} {
		t.Run(name, func(t *testing.T) {
			var kinds []byte
			var pong []byte
			addr, done := serve(t, func(c *Conn, req Request) {
				if err := c.Approve(req); err != nil {
					t.Error(err)
				}
				ping := message{kind: userControl, body: binary.BigEndian.AppendUint32([]byte{0, pingRequest}, 77)}
				said := appendMessage(nil, onControl, control(windowSize, 10), c.chunk)
				said = appendMessage(said, onControl, ping, c.chunk)
				said = appendMessage(said, onControl, control(acknowledge, 1), c.chunk)
				for _, b := range said {
					if _, err := c.net.Write([]byte{b}); err != nil {
						t.Error(err)
					}
				}
				for len(kinds) < 3 {
					m, err := c.chunks.next()
					if err != nil {
						t.Error(err)
						return
					}
					kinds = append(kinds, m.kind)
					if m.kind == userControl {
						pong = m.body
					}
				}
				if _, err := c.net.Write(last); err != nil {
					t.Error(err)
				}
			})
			c, err := Dial(t.Context(), addr, "live", 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Publish("x"); err != nil {
				t.Fatal(err)
			}
			p, err := poll.New()
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			var gone []error
			out, err := c.Onto(p, 1<<20, func(err error) { gone = append(gone, err) })
			if err != nil {
				t.Fatal(err)
			}
			if err := c.WriteTags([]flv.Tag{{Type: flv.Video, Data: []byte{0x17, 1, 0, 0, 0}}}); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(5 * time.Second); len(gone) == 0 && time.Now().Before(end); {
				if err := p.Turn(time.Now().Add(10 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
			<-done
			want := io.EOF
			if last != nil {
				want = ErrMalformed
			}
			if len(gone) != 1 || !errors.Is(gone[0], want) {
				t.Errorf("the end was told as %v, want %v once", gone, want)
			}
			if out.Write([]byte("x"), nil) == nil {
				t.Error("it is still open")
			}
			if !bytes.Equal(pong, binary.BigEndian.AppendUint32([]byte{0, pingResponse}, 77)) || !bytes.Contains(kinds, []byte{acknowledge}) || !bytes.Contains(kinds, []byte{flv.Video}) {
				t.Errorf("the server got messages of the kinds %v, and %v for its ping", kinds, pong)
			}
		})
	}
}
