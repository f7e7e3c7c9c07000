package danmaku

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Outbox writes to a connection without ever waiting for its reader: what the kernel does not take at once waits here, in
// order, up to a limit. Both ends of a WebSocket use it; most writes are one system call and allocate nothing.
type Outbox struct {
	conn  net.Conn
	raw   syscall.RawConn
	limit int // bytes that may wait

	mu       sync.Mutex
	a, b     []byte // what is being written
	failed   error  // of the write; the connection is of no more use
	try      func(fd uintptr) bool
	waiting  []byte
	draining bool
	drained  sync.WaitGroup
}

// ErrSlow is returned for a reader who has left more than the limit unread. The connection is closed.
var ErrSlow = errors.New("the reader is too slow")

// NewOutbox takes the writing side of a connection over.
func NewOutbox(conn net.Conn, limit int) (*Outbox, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection is no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	o := &Outbox{conn: conn, raw: raw, limit: limit}
	o.try = o.attempt
	return o, nil
}

// attempt writes as much as the kernel takes now. It is made once: a closure for every write would cost an allocation.
func (o *Outbox) attempt(fd uintptr) bool {
	var n int
	var err error
	if len(o.b) == 0 {
		n, err = unix.Write(int(fd), o.a)
	} else {
		n, err = unix.Writev(int(fd), [][]byte{o.a, o.b})
	}
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		n = 0
	case err != nil:
		o.failed = err
		return true
	}
	k := min(n, len(o.a))
	o.a, o.b = o.a[k:], o.b[n-k:]
	return true
}

// Write sends a, then b, which may be nil. They are not kept.
func (o *Outbox) Write(a, b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return o.failed
	}
	if !o.draining {
		o.a, o.b = a, b
		if err := o.raw.Write(o.try); err != nil {
			o.failed = err
		}
		a, b, o.a, o.b = o.a, o.b, nil, nil
		if o.failed != nil || len(a)+len(b) == 0 {
			return o.failed
		}
		o.draining = true
		o.drained.Go(o.drain)
	}
	if len(o.waiting)+len(a)+len(b) > o.limit {
		o.failed = ErrSlow
		o.conn.Close()
		return o.failed
	}
	o.waiting = append(append(o.waiting, a...), b...)
	return nil
}

// drain writes what waits until nothing does.
func (o *Outbox) drain() {
	var batch []byte
	for {
		o.mu.Lock()
		if o.failed != nil || len(o.waiting) == 0 {
			o.draining = false
			o.mu.Unlock()
			return
		}
		batch, o.waiting = o.waiting, batch[:0]
		o.mu.Unlock()
		if _, err := o.conn.Write(batch); err != nil {
			o.mu.Lock()
			o.failed = err
			o.mu.Unlock()
		}
	}
}

// Close ends the connection; nothing of the outbox runs any more when it returns.
func (o *Outbox) Close() {
	o.conn.Close()
	o.drained.Wait()
}

// The opcodes of WebSocket frames that we write ourselves (RFC 6455, 5.2).
const (
	TextFrame = 1
	PingFrame = 9
	PongFrame = 10
)

// AppendHeader writes the header of an unmasked frame with n bytes of payload, as servers send them (RFC 6455, 5.2).
func AppendHeader(dst []byte, opcode byte, n int) []byte { return appendHeader(dst, opcode, n, 0) }

// AppendMasked writes a whole frame as clients must send it (5.3).
func AppendMasked(dst []byte, opcode byte, payload []byte, mask uint32) []byte {
	dst = appendHeader(dst, opcode, len(payload), 0x80)
	dst = binary.LittleEndian.AppendUint32(dst, mask)
	at := len(dst)
	dst = append(dst, payload...)
	body := dst[at:]
	wide := uint64(mask)<<32 | uint64(mask)
	for ; len(body) >= 8; body = body[8:] {
		binary.LittleEndian.PutUint64(body, binary.LittleEndian.Uint64(body)^wide)
	}
	for i := range body {
		body[i] ^= byte(mask >> (8 * (i & 3)))
	}
	return dst
}

func appendHeader(dst []byte, opcode byte, n int, masked byte) []byte {
	switch {
	case n < 126:
		return append(dst, 0x80|opcode, masked|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0x80|opcode, masked|126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0x80|opcode, masked|127), uint64(n))
	}
}
