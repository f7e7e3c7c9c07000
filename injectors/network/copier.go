package network

import (
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
)

// copySource is the sender's address on the frames of second copies: they are not queued again.
var copySource = net.HardwareAddr{0x02, 0x1d, 0x77, 0x00, 0x00, 0x02}

// copier puts second copies of packets on the host's link, from the end that they came from. It opens its socket for the first one: to close
// one takes the kernel a moment.
type copier struct {
	fd   int // 0: not yet
	from end
	to   unix.SockaddrLinklayer
	macs map[[4]byte]net.HardwareAddr // of receivers, by address
}

// newCopier makes copies of what comes in at an end of the link: they go out at the other.
func newCopier(on *target.Network, in end) (*copier, error) {
	c := &copier{macs: map[[4]byte]net.HardwareAddr{}}
	for _, e := range ends(on) {
		if e != in {
			c.from = e
		}
	}
	if in.device != on.Device {
		return c, nil
	}
	// The host is the receiver.
	return c, in.inside(func(l netlink.Link) error {
		c.macs[netip.MustParseAddr(on.Addr).As4()] = l.Attrs().HardwareAddr
		return nil
	})
}

func (c *copier) open() error {
	return c.from.inside(func(l netlink.Link) error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			c.fd, c.to = fd, unix.SockaddrLinklayer{Ifindex: l.Attrs().Index, Halen: 6}
		}
		return err
	})
}

// receiver finds the hardware address that the packet goes to: a host that sends has its neighbours' already.
func (c *copier) receiver(data []byte) net.HardwareAddr {
	addr := [4]byte(data[16:20]) // destination (RFC 791, 3.1)
	if mac, ok := c.macs[addr]; ok {
		return mac
	}
	_ = c.from.inside(func(l netlink.Link) error { // a copy that finds no way shows in the probe
		list, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
		for _, n := range list {
			if ip := n.IP.To4(); ip != nil && len(n.HardwareAddr) == 6 {
				c.macs[[4]byte(ip)] = n.HardwareAddr
			}
		}
		return err
	})
	return c.macs[addr]
}

func (c *copier) send(data []byte) {
	if len(data) < 20 || c.fd == 0 && c.open() != nil {
		return // one that is lost shows in the probe
	}
	if mac := c.receiver(data); mac != nil {
		_ = unix.Sendto(c.fd, slices.Concat(mac, copySource, []byte{0x08, 0x00}, data), 0, &c.to) // as above
	}
}

// Close closes the copier's socket, if it has one.
func (c *copier) Close() error {
	if c.fd == 0 {
		return nil
	}
	return unix.Close(c.fd)
}
