package poll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// heard is a reader that keeps all.
type heard struct {
	bytes.Buffer
	ended error
}

func (h *heard) Read(data []byte, err error) {
	h.Write(data)
	h.ended = errors.Join(h.ended, err)
}

// pair is a connection of a poller's and its other side, with small buffers, so that a reader who waits is felt soon. The poller has no thread:
// the test turns it.
func pair(t testing.TB, limit int) (p *Poller, ours *Conn, h *heard, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetWriteBuffer(32 << 10)
	_ = theirs.(*net.TCPConn).SetReadBuffer(32 << 10)
	if p, err = New(); err != nil {
		t.Fatal(err)
	}
	fd, err := Take(conn)
	if err != nil {
		t.Fatal(err)
	}
	h = &heard{}
	if ours, err = p.Add(fd, limit, h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		theirs.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, ours, h, theirs
}

// turn goes round until something is so.
func turn(t testing.TB, p *Poller, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatal("it is not so after 5 s")
		}
		if err := p.Turn(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrderIsKept writes far more than the kernel takes before anybody reads.
func TestOrderIsKept(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	p, c, _, theirs := pair(t, 64<<20)
	var want []byte
	for i := range 1000 {
		a, b := bytes.Repeat([]byte{byte(i)}, 700), bytes.Repeat([]byte{byte(i >> 8)}, i%5*100)
		if err := c.Write(a, b); err != nil {
			t.Fatal(err)
		}
		want = append(append(want, a...), b...)
	}
	got := make(chan []byte)
	go func() {
		buf := make([]byte, len(want))
		_, _ = io.ReadFull(theirs, buf) // what is missing shows
		got <- buf
	}()
	turn(t, p, func() bool { return c.Waiting() == 0 })
	if !bytes.Equal(<-got, want) {
		t.Error("what was read is not what was written")
	}
}

// TestSlowReadersAreThrownOut never waits and never keeps more than the limit.
func TestSlowReadersAreThrownOut(t *testing.T) {
	p, c, h, _ := pair(t, 1<<20)
	var err error
	for range 1000 {
		if err = c.Write(make([]byte, 64<<10), nil); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrSlow) || c.Waiting() > 1<<20 {
		t.Errorf("%v, want %v; %d bytes wait", err, ErrSlow, c.Waiting())
	}
	turn(t, p, func() bool { return h.ended != nil })
	if err := c.Write([]byte("x"), nil); !errors.Is(err, ErrSlow) {
		t.Errorf("%v after its end", err)
	}
}

// TestReadersAreTold of what comes, and of the end, once.
func TestReadersAreTold(t *testing.T) {
	p, c, h, theirs := pair(t, 1<<20)
	if _, err := theirs.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	turn(t, p, func() bool { return h.Len() == 5 })
	theirs.Close()
	turn(t, p, func() bool { return h.ended != nil })
	for range 3 {
		if err := p.Turn(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if h.String() != "hello" || h.ended.Error() != "EOF" {
		t.Errorf("%q, %v", h.String(), h.ended)
	}
	if err := c.Write([]byte("x"), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v after its end", err)
	}
}

// TestWaking lets a thread that waits long be woken by its timer, set earlier or later than before, and by others.
func TestWaking(t *testing.T) {
	p, _, _, _ := pair(t, 1)
	for _, wait := range []time.Duration{50 * time.Millisecond, 0, -time.Hour, 20 * time.Millisecond} {
		start := time.Now()
		for time.Since(start) < wait {
			if err := p.Turn(start.Add(wait)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > max(wait, 0)+2*time.Second {
			t.Errorf("%s for %s", took, wait)
		}
	}
	done := make(chan bool, 1)
	time.AfterFunc(20*time.Millisecond, func() { p.Do(func() { done <- true }) })
	for start := time.Now(); len(done) == 0; {
		if err := p.Turn(start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("nobody woke it")
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	_, c, _, theirs := pair(b, 64<<20)
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	frame := make([]byte, 120)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Write(frame, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// TestBudget throws out the slow reader who asks for more than all of them may have together, and no other.
func TestBudget(t *testing.T) {
	p, first, h1, _ := pair(t, 1<<20)
	p.Budget = 600 << 10
	for first.Waiting() < 500<<10 {
		if err := first.Write(make([]byte, 50<<10), nil); err != nil {
			t.Fatal(err)
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	h2 := &heard{}
	second, err := p.Add(fds[0], 1<<20, h2)
	for err == nil && second.Waiting() < 900<<10 {
		err = second.Write(make([]byte, 20<<10), nil)
	}
	if !errors.Is(err, ErrSlow) {
		t.Errorf("%v, want %v", err, ErrSlow)
	}
	turn(t, p, func() bool { return h2.ended != nil })
	if h1.ended != nil || first.Write([]byte("x"), nil) != nil {
		t.Error("the other one was thrown out, too")
	}
	first.Close()
	if left := p.waiting.Load(); left != 0 {
		t.Errorf("%d bytes wait when nobody is left", left)
	}
}
