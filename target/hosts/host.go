package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
)

// Host is one machine of a range: a network namespace with one link, and a cgroup where there are any.
type Host struct {
	Name   string
	Addr   string
	Cgroup target.Cgroup
	path   string // of its network namespace
	port   string // its link's end at the bridge
}

// device is the name of every host's own end of its link.
const device = "eth0"

// AddHost makes a host and joins it to the bridge.
func (r *Range) AddHost(name string) (*Host, error) {
	h := &Host{Name: name, Addr: fmt.Sprintf("10.77.0.%d", r.next), port: fmt.Sprintf("ld0p%d", r.next),
		path: filepath.Join(Base, "net", name)}
	if r.next++; r.next == 255 {
		return nil, fmt.Errorf("host %s: a range holds 252 hosts", name)
	}
	err := locked(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return bindNamespace(h.path)
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	if err := r.plug(h); err != nil {
		return nil, fmt.Errorf("host %s: link: %w", name, err)
	}
	if h.Cgroup, err = r.cgroups.Sub(name); err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	return h, nil
}

// Own is the range itself as a host: the network namespace with the bridge. What faults look for on a component's host they do not find there.
func (r *Range) Own() *Host {
	return &Host{Name: "range", Addr: BridgeAddr, path: filepath.Join(Base, "net", "bridge")}
}

func (r *Range) plug(h *Host) error {
	ns, err := os.Open(h.path)
	if err != nil {
		return err
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = h.port
	attrs.MasterIndex = r.bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: device, PeerNamespace: netlink.NsFd(int(ns.Fd()))}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	if err := noOffload(h.port, r.Offload); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return err
	}
	return h.Do(func() error {
		if err := noOffload(device, r.Offload); err != nil {
			return err
		}
		for _, name := range []string{"lo", device} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if name == device {
				if err := netlink.AddrAdd(link, address(h.Addr)); err != nil {
					return err
				}
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
		}
		return nil
	})
}

// Do runs do in the host's network namespace. Sockets made there stay there.
func (h *Host) Do(do func() error) error { return InNamespace(h.path, do) }

// InNamespace runs do in the network namespace kept at path.
func InNamespace(path string, do func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return locked(func() error {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("join %s: %w", path, err)
		}
		return do()
	})
}

// Network is the handle by which faults hold the host's link.
func (h *Host) Network() *target.Network {
	return &target.Network{Namespace: h.path, Device: device, Bridge: filepath.Join(Base, "net", "bridge"), Port: h.port,
		Addr: h.Addr, Peer: BridgeAddr, Strangers: strangersAddr}
}

// noOffload turns receive offload off, and segmentation too unless it is asked for: one packet on the link is then one packet of at most
// the MTU, where a loss of 1 % would otherwise take whole 64 KiB pieces.
func noOffload(name string, segments bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	off := []uint32{unix.ETHTOOL_SGRO, unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO}
	if segments {
		off = off[:1]
	}
	for _, set := range off {
		value := struct{ cmd, data uint32 }{set, 0}
		var request struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(request.name[:], name)
		request.data = unsafe.Pointer(&value)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("offload of %s: %w", name, errno)
		}
	}
	return nil
}

// safeName keeps names of hosts and processes fit for paths.
func safeName(name string) bool {
	return name != "" && !strings.ContainsAny(name, "/.\x00 ")
}
