package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/rtmp"
)

// SYN sends a component the first packet of TCP connections from addresses that nobody has: each holds a place in its kernel until
// that gives up, or answers with cookies.
type SYN struct {
	clients.Repeated
	injectors.Drawn
	Port string `json:"port" help:"protocol of the port"`
}

// Check is part of injectors.Fault.
func (f *SYN) Check(_ context.Context, on target.Component) error { return clients.Free(on, f.Port) }

// Inject is part of injectors.Fault.
func (f *SYN) Inject(ctx context.Context, on target.Component) error {
	addr, err := clients.InRange(on, f.Port)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	to := net.ParseIP(on.Addr).To4()
	if to == nil {
		return fmt.Errorf("%s is no IPv4 address", on.Addr)
	}
	fd := -1
	if err := hosts.InNamespace(on.Handles.Network.Bridge, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	var mu sync.Mutex
	var sent [][]byte
	send := func(p []byte) error { return unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: [4]byte(to)}) }
	return f.Run(ctx, on, func(_ context.Context, n uint64) clients.Answer {
		p := synTo(to, uint16(number), drawn(f.Seed, n))
		if send(p) != nil {
			return clients.Failed
		}
		mu.Lock()
		defer mu.Unlock()
		if sent = append(sent, p); len(sent) >= 2*maxHalfOpen {
			sent = slices.Clone(sent[maxHalfOpen:])
		}
		return clients.Got
	}, func() {
		// What is half open would stay so for a minute: each is taken back, as a host does that has never asked (RFC 9293, 3.5.2).
		for _, p := range sent[max(0, len(sent)-maxHalfOpen):] {
			_ = send(takenBack(p)) // the effect tells whether one is left
		}
		_ = unix.Close(fd)
	})
}

// drawn are the random numbers of one attempt: the same in every run of the seed, whichever client makes it.
func drawn(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

// maxHalfOpen is more than any listener's queue holds.
const maxHalfOpen = 100_000

// takenBack makes the reset that belongs to a SYN: from the same address, one number later.
func takenBack(syn []byte) []byte {
	p := slices.Clone(syn)
	tcp := p[20:]
	binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(tcp[4:])+1)
	tcp[13] = 0x04 // RST
	seal(p)
	return p
}

// seal puts the checksum into a packet of 40 bytes with a TCP header.
func seal(p []byte) {
	tcp := p[20:]
	tcp[16], tcp[17] = 0, 0
	pseudo := append(append([]byte{}, p[12:20]...), 0, unix.IPPROTO_TCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], checksum(pseudo, tcp))
}

// synTo makes an IPv4 packet with a TCP segment that asks for a connection (RFC 791 and 9293), from a drawn address of the target's own
// network that no host has: the answer finds nobody.
func synTo(to net.IP, port uint16, rng *rand.Rand) []byte {
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(p[2:], 40)
	binary.BigEndian.PutUint16(p[4:], uint16(rng.Uint32()))
	copy(p[12:], []byte{to[0], to[1], to[2], byte(150 + rng.IntN(100))})
	copy(p[16:], to)
	tcp := p[20:]
	binary.BigEndian.PutUint16(tcp, uint16(1024+rng.IntN(64000)))
	binary.BigEndian.PutUint16(tcp[2:], port)
	binary.BigEndian.PutUint32(tcp[4:], rng.Uint32())
	tcp[12], tcp[13] = 5<<4, 0x02 // five words; SYN
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	seal(p)
	return p
}

// checksum is the Internet checksum (RFC 1071) over several pieces of even length.
func checksum(pieces ...[]byte) uint16 {
	sum := uint32(0)
	for _, p := range pieces {
		for i := 0; i+1 < len(p); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(p[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// Effect reads from the component's own kernel how many connections are half open, how many cookies it sent, and how many requests it
// dropped.
func (f *SYN) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	before, err := synCounters(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	m, err := f.Repeated.Effect(ctx, on)
	if err != nil {
		return m, err
	}
	half, err := clients.HalfOpen(on)
	if err != nil {
		return m, err
	}
	after, err := synCounters(on)
	m.Is["half_open"], m.Is["cookies_or_drops"] = float64(half), after-before
	delete(m.Is, "got_through")
	m.Clean = m.Clean && half == 0
	if m.Bites = m.Bites && (half > 0 || after > before); !m.Bites && !m.Clean {
		m.Reason += "; its kernel has no half-open connection"
	}
	return m, err
}

// synCounters adds up what the kernel counts when half-open connections have filled its queue.
func synCounters(on target.Component) (n float64, err error) {
	err = hosts.InNamespace(on.Handles.Network.Namespace, func() error {
		for _, name := range []string{"TCPReqQFullDoCookies", "TCPReqQFullDrop"} {
			v, err := hosts.Counter("/proc/thread-self/net/netstat", "TcpExt", name)
			if err != nil {
				return err
			}
			n += v
		}
		return nil
	})
	return n, err
}

// key is a guess, in the form of the platform's own.
func key(seed, n uint64) string {
	return fmt.Sprintf("streamers-%d.%016x", n%4, drawn(seed, n).Uint64())
}

// Keys guesses stream keys: whoever hits one goes on the air in somebody else's name.
type Keys struct {
	clients.Repeated
	injectors.Drawn
}

// Check is part of injectors.Fault.
func (*Keys) Check(_ context.Context, on target.Component) error { return clients.Free(on, "rtmp") }

// Inject is part of injectors.Fault.
func (f *Keys) Inject(ctx context.Context, on target.Component) error {
	addr, err := clients.InRange(on, "rtmp")
	if err != nil {
		return err
	}
	dial := clients.Dial(on)
	return f.Run(ctx, on, func(ctx context.Context, n uint64) clients.Answer {
		conn, err := rtmp.DialBy(ctx, dial, addr, "live", 3*time.Second)
		if err != nil {
			return clients.Failed
		}
		defer conn.Close()
		if conn.Publish(key(f.Seed, n)) != nil {
			return clients.Turned
		}
		return clients.Got
	}, func() {})
}
