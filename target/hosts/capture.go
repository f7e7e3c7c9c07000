package hosts

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Sizes of a capture.
const (
	captureHead    = 128             // bytes kept of each packet: every header, and a little of what is in it
	captureBefore  = 5 * time.Second // kept from before a recording begins
	captureSlots   = 1 << 15         // packets kept for that, at most
	captureSocket  = 4 << 20         // bytes that may wait in the kernel
	recordingBytes = 64 << 20        // of one recording, at most
)

// Capture takes the heads of all packets of a host's link: it keeps those of the last seconds, and writes them into the
// recordings that are open.
type Capture struct {
	socket *os.File
	mu     sync.Mutex
	ring   []packet
	next   int
	open   []*Recording
}

// packet is the head of one packet.
type packet struct {
	at     time.Time
	length int // on the link
	kept   int
	head   [captureHead]byte
}

// Recording is a file of packets in the making.
type Recording struct {
	to      *bufio.Writer
	left    int // bytes that there is room for
	err     error
	packets int
	missed  int
}

// Capture opens the host's link for captures.
func (h *Host) Capture() (*Capture, error) {
	c := &Capture{}
	err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // of no protocol: nothing comes before Bind
		if err != nil {
			return err
		}
		c.socket = os.NewFile(uintptr(fd), "capture")
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, captureSocket), // as much of it as the machine allows
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: link.Attrs().Index}))
	})
	if err != nil {
		if c.socket != nil {
			_ = c.socket.Close() // nothing came of it
		}
		return nil, fmt.Errorf("capture on %s: %w", h.Name, err)
	}
	return c, nil
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Run takes packets until ctx ends, and closes the link.
func (c *Capture) Run(ctx context.Context) error {
	defer c.socket.Close() // nothing is written to it
	stop := context.AfterFunc(ctx, func() { _ = c.socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return err
	}
	var p packet
	var control [64]byte
	for {
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			var n, size int
			n, size, _, _, failed = unix.Recvmsg(int(fd), p.head[:], control[:], unix.MSG_TRUNC)
			if errors.Is(failed, unix.EAGAIN) || errors.Is(failed, unix.EINTR) {
				return false
			}
			p.length, p.kept, p.at = n, min(n, captureHead), stamped(control[:size])
			return true
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(failed, unix.ENETDOWN): // a fault took the link down: it comes back
		case err != nil || failed != nil:
			return fmt.Errorf("capture: %w", errors.Join(err, failed))
		default:
			c.take(&p)
		}
	}
}

// stamped reads the kernel's time of arrival; without one it is now.
func stamped(control []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(control) // the kernel's own form
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return time.Unix((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Unix())
		}
	}
	return time.Now()
}

func (c *Capture) take(p *packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ring) < captureSlots {
		c.ring = append(c.ring, *p)
	} else {
		c.ring[c.next] = *p
		c.next = (c.next + 1) % captureSlots
	}
	for _, r := range c.open {
		r.write(p)
	}
}

// Record begins a recording into w with the packets of the last seconds. End ends it.
func (c *Capture) Record(w io.Writer) *Recording {
	r := &Recording{to: bufio.NewWriterSize(w, 64<<10), left: recordingBytes}
	_, r.err = r.to.Write(pcapHeader())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count() // what was missed before is not this recording's
	since := time.Now().Add(-captureBefore)
	for i := range c.ring {
		if p := &c.ring[(c.next+i)%len(c.ring)]; p.at.After(since) {
			r.write(p)
		}
	}
	c.open = append(c.open, r)
	return r
}

// End ends a recording and says how many packets are in it, and how many that came while it was open are not.
func (c *Capture) End(r *Recording) (packets, missed int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	c.open = slices.DeleteFunc(c.open, func(o *Recording) bool { return o == r })
	return r.packets, r.missed, errors.Join(r.err, r.to.Flush())
}

// count adds what the kernel had no room for since it was asked last to the recordings that are open.
func (c *Capture) count() {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return // closed: nothing comes any more
	}
	_ = raw.Control(func(fd uintptr) {
		if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			for _, r := range c.open {
				r.missed += int(s.Drops)
			}
		}
	})
}

// pcapHeader begins a file of Ethernet packets with times in nanoseconds (draft-ietf-opsawg-pcap, 4).
func pcapHeader() []byte {
	b := binary.NativeEndian.AppendUint32(nil, 0xa1b23c4d)
	b = binary.NativeEndian.AppendUint16(b, 2)
	b = binary.NativeEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.NativeEndian.AppendUint32(b, captureHead)
	return binary.NativeEndian.AppendUint32(b, 1)
}

// write adds a packet (draft-ietf-opsawg-pcap, 5).
func (r *Recording) write(p *packet) {
	if r.left -= 16 + p.kept; r.left < 0 {
		r.missed++
		return
	}
	r.packets++
	var b [16]byte
	binary.NativeEndian.PutUint32(b[0:], uint32(p.at.Unix()))
	binary.NativeEndian.PutUint32(b[4:], uint32(p.at.Nanosecond()))
	binary.NativeEndian.PutUint32(b[8:], uint32(p.kept))
	binary.NativeEndian.PutUint32(b[12:], uint32(p.length))
	_, err := r.to.Write(b[:])
	if err == nil {
		_, err = r.to.Write(p.head[:p.kept])
	}
	if r.err == nil {
		r.err = err
	}
}
