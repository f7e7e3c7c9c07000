package danmaku

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// taken is what comes out of frames that come in pieces of some length, as text, with the error at the end.
func taken(f Frames, stream []byte, piece int) (got []string, err error) {
	for part := range slices.Chunk(bytes.Clone(stream), piece) {
		for f.Feed(bytes.Clone(part)); ; {
			opcode, payload, ok, err := f.Next()
			if err != nil {
				return got, err
			}
			if !ok {
				break
			}
			got = append(got, fmt.Sprintf("%d %q", opcode, payload))
		}
	}
	return got, nil
}

// TestFrames takes apart what each side writes, however it is cut.
func TestFrames(t *testing.T) {
	for _, masked := range []bool{false, true} {
		frame := func(dst []byte, opcode byte, payload []byte) []byte {
			if masked {
				return AppendMasked(dst, opcode, payload, 0x01020304)
			}
			return AppendFrame(dst, opcode, payload)
		}
		var stream []byte
		var want []string
		for _, n := range []int{0, 1, 125, 126, 65535, 65536, 100_000, 3} {
			payload := bytes.Repeat([]byte("x"), n)
			stream = frame(stream, TextFrame, payload)
			want = append(want, fmt.Sprintf("%d %q", TextFrame, payload))
		}
		// A message in three pieces, with a ping between them.
		at := len(stream)
		stream = frame(stream, TextFrame, []byte("one "))
		stream[at] &^= 0x80
		stream = frame(stream, PingFrame, []byte("are you there"))
		at = len(stream)
		stream = frame(stream, more, []byte("two "))
		stream[at] &^= 0x80
		stream = frame(frame(stream, more, []byte("three")), CloseFrame, nil)
		want = append(want, `9 "are you there"`, `1 "one two three"`, `8 ""`)
		for _, piece := range []int{1, 2, 3, 7, 4096, 65536, len(stream)} {
			got, err := taken(Frames{Masked: masked, Limit: 100_000}, stream, piece)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("masked %v, in pieces of %d: %d messages, want %d (%v)", masked, piece, len(got), len(want), err)
			}
		}
	}
}

// TestNoFrames are refused as soon as they can be known.
func TestNoFrames(t *testing.T) {
	for name, c := range map[string]struct {
		bytes string
		want  error
	}{
		"an extension":          {"\xc1\x00", ErrProtocol},
		"an unknown opcode":     {"\x83\x00", ErrProtocol},
		"a masked one":          {"\x81\x80", ErrProtocol},
		"a long ping":           {"\x89\x7e", ErrProtocol},
		"a close in pieces":     {"\x08\x00", ErrProtocol},
		"a piece of nothing":    {"\x80\x00", ErrProtocol},
		"a message in another":  {"\x01\x01x\x01\x00", ErrProtocol},
		"more than the limit":   {"\x81\x0b", ErrTooLarge},
		"2^63 bytes":            {"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", ErrTooLarge},
		"too large in pieces":   {"\x01\x06123456\x80\x05", ErrTooLarge},
		"the limit":             {"\x81\x0a1234567890", nil},
		"the limit in pieces":   {"\x01\x06123456\x80\x047890", nil},
		"half a length":         {"\x81\x7e\x00", nil},
		"less than its length":  {"\x81\x05123", nil},
		"a length not shortest": {"\x81\x7e\x00\x01x", nil},
	} {
		if _, err := taken(Frames{Limit: 10}, []byte(c.bytes), 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// FuzzFrames holds the reader against a library's: the same messages, whole or in pieces, as long as both find no fault.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x89\x00\x01\x01a\x80\x01b\x88\x02\x03\xe8"), uint8(3))
	f.Add(AppendFrame(nil, TextFrame, make([]byte, 300)), uint8(200))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		const limit = 1 << 17
		got, err := taken(Frames{Limit: limit}, stream, len(stream)+1)
		inPieces, err2 := taken(Frames{Limit: limit}, stream, int(piece)+1)
		if !slices.Equal(got, inPieces) || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%d messages (%v) at once, %d (%v) in pieces of %d", len(got), err, len(inPieces), err2, piece)
		}
		var want []string
		in := wsutil.Reader{Source: bytes.NewReader(stream), State: ws.StateClientSide, MaxFrameSize: limit}
		in.OnIntermediate = func(h ws.Header, r io.Reader) error {
			payload, err := io.ReadAll(r)
			if err == nil && int64(len(payload)) == h.Length {
				want = append(want, fmt.Sprintf("%d %q", h.OpCode, payload))
			}
			return err
		}
		for {
			h, err := in.NextFrame()
			if err != nil {
				break
			}
			payload, err := io.ReadAll(&in)
			if err != nil {
				break
			}
			want = append(want, fmt.Sprintf("%d %q", h.OpCode, payload))
		}
		if n := min(len(got), len(want)); !slices.Equal(got[:n], want[:n]) {
			t.Fatalf("%q, want %q", got[:n], want[:n])
		}
	})
}
