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
	"sync/atomic"
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
	captureBlock   = 1 << 17         // bytes of packets that the kernel hands over together
	captureBlocks  = 16              // of such that it has
	recordingBytes = 64 << 20        // of one recording, at most
)

// Capture takes the heads of all packets of a host's link: it keeps those of the last seconds, and writes them into the
// recordings that are open.
type Capture struct {
	socket *os.File
	shared []byte // blocks of packets, written by the kernel
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
	before  []packet  // that are to be written first, if they came
	since   time.Time // after this
	left    int       // bytes that there is room for
	err     error
	packets int
	missed  int
}

// Capture opens the host's link for captures. The kernel puts packets into memory that both see, and says so ten times a second: a
// system call for each would cost more than all else in a drill.
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
		head := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: captureHead} // take as much of every packet
		err = errors.Join(
			unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &head}),
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3),
			unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{Block_size: captureBlock, Block_nr: captureBlocks,
				Frame_size: 1 << 11, Frame_nr: captureBlock * captureBlocks >> 11, Retire_blk_tov: uint32(retire.Milliseconds())}))
		if err != nil {
			return err
		}
		if c.shared, err = unix.Mmap(fd, 0, captureBlock*captureBlocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: link.Attrs().Index})
	})
	if err != nil {
		c.close()
		return nil, fmt.Errorf("capture on %s: %w", h.Name, err)
	}
	return c, nil
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (c *Capture) close() {
	if c.shared != nil {
		_ = unix.Munmap(c.shared) // it was mapped
	}
	if c.socket != nil {
		_ = c.socket.Close() // nothing is written to it
	}
}

// Run takes packets until ctx ends, and closes the link.
func (c *Capture) Run(ctx context.Context) error {
	defer c.close()
	stop := context.AfterFunc(ctx, func() { _ = c.socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return err
	}
	for n := 0; ; n = (n + 1) % captureBlocks {
		block := c.shared[n*captureBlock:][:captureBlock]
		header := (*unix.TpacketHdrV1)(unsafe.Pointer(&block[unsafe.Offsetof(unix.TpacketBlockDesc{}.Hdr)]))
		err := raw.Read(func(uintptr) bool { return atomic.LoadUint32(&header.Block_status)&unix.TP_STATUS_USER != 0 })
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		c.take(block, header)
		atomic.StoreUint32(&header.Block_status, unix.TP_STATUS_KERNEL)
	}
}

// take keeps and writes the packets of a block (packet(7), tpacket_v3).
func (c *Capture) take(block []byte, header *unix.TpacketHdrV1) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := block[header.Offset_to_first_pkt:]
	for range header.Num_pkts {
		h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&at[0]))
		p := packet{at: time.Unix(int64(h.Sec), int64(h.Nsec)), length: int(h.Len)}
		p.kept = copy(p.head[:], at[h.Mac:][:h.Snaplen])
		c.keep(&p)
		at = at[h.Next_offset:]
	}
}

func (c *Capture) keep(p *packet) {
	if len(c.ring) < captureSlots {
		c.ring = append(c.ring, *p)
	} else {
		c.ring[c.next] = *p
		c.next = (c.next + 1) % captureSlots
	}
	for _, r := range c.open {
		r.catchUp()
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
	r.before = append(slices.Clone(c.ring[c.next:]), c.ring[:c.next]...)
	r.since = time.Now().Add(-captureBefore)
	c.open = append(c.open, r)
	return r
}

// Handover is how late a packet may come into a recording: End is for later than that.
const Handover = 2 * retire

// retire is how long the kernel fills a block.
const retire = 100 * time.Millisecond

// End ends a recording and says how many packets are in it, and how many that came while it was open the kernel or the file had no room for.
func (c *Capture) End(r *Recording) (packets, missed int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	r.catchUp()
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
		if s, err := unix.GetsockoptTpacketStatsV3(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
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

// catchUp writes what came before the recording began. Who begins one is about to inject a fault, and does not wait for a disk.
func (r *Recording) catchUp() {
	for i := range r.before {
		if p := &r.before[i]; p.at.After(r.since) {
			r.write(p)
		}
	}
	r.before = nil
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
