package network

import (
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// copySource is the sender's address on the frames of second copies: they are not queued again.
var copySource = net.HardwareAddr{0x02, 0x1d, 0x77, 0x00, 0x00, 0x02}

// copier puts second copies of packets on the host's link, from the bridge's end.
type copier struct {
	fd     int
	to     unix.SockaddrLinklayer
	header []byte
}

func newCopier(on *target.Network) (copier, error) {
	var c copier
	var mac net.HardwareAddr
	if err := hosts.InNamespace(on.Namespace, func() error {
		l, err := netlink.LinkByName(on.Device)
		if err == nil {
			mac = l.Attrs().HardwareAddr
		}
		return err
	}); err != nil {
		return c, err
	}
	err := hosts.InNamespace(on.Bridge, func() error {
		l, err := netlink.LinkByName(on.Port)
		if err != nil {
			return err
		}
		c.to = unix.SockaddrLinklayer{Ifindex: l.Attrs().Index, Halen: 6}
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	c.header = append(append(append(c.header, mac...), copySource...), 0x08, 0x00)
	return c, err
}

func (c copier) send(data []byte) {
	_ = unix.Sendto(c.fd, append(slices.Clone(c.header), data...), 0, &c.to) // one that is lost shows in the probe
}

// Close closes the copier's socket.
func (c copier) Close() error { return unix.Close(c.fd) }
