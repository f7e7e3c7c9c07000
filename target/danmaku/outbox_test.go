package danmaku

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

// pair is two ends of a TCP connection with small buffers, so that a reader who waits is felt soon.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = ours.(*net.TCPConn).SetWriteBuffer(32 << 10)
	_ = theirs.(*net.TCPConn).SetReadBuffer(32 << 10)
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// TestOutboxKeepsOrder writes far more than the kernel takes before anybody reads.
func TestOutboxKeepsOrder(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ours, theirs := pair(t)
	o, err := NewOutbox(ours, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i := range 1000 {
		a, b := bytes.Repeat([]byte{byte(i)}, 700), bytes.Repeat([]byte{byte(i >> 8)}, i%5*100)
		if err := o.Write(a, b); err != nil {
			t.Fatal(err)
		}
		want = append(append(want, a...), b...)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was read is not what was written (%v)", err)
	}
	o.Close()
}

// TestOutboxThrowsSlowReadersOut never waits and never keeps more than the limit.
func TestOutboxThrowsSlowReadersOut(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ours, _ := pair(t)
	o, err := NewOutbox(ours, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err = o.Write(make([]byte, 64<<10), nil); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrSlow) {
		t.Errorf("%v, want %v", err, ErrSlow)
	}
	if len(o.waiting) > 1<<20 {
		t.Errorf("%d bytes wait", len(o.waiting))
	}
	o.Close()
}

func BenchmarkOutbox(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(io.Discard, peer) }()
	o, err := NewOutbox(conn, 64<<20)
	if err != nil {
		b.Fatal(err)
	}
	frame := make([]byte, 120)
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Write(frame, nil); err != nil {
			b.Fatal(err)
		}
	}
	o.Close()
	<-done
}
