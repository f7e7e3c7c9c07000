package hosts

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
)

// Base is where a range keeps what lives and dies with it: a file system in memory that only the range can see.
const Base = "/run/livedrill"

// BridgeName is the bridge that joins all hosts; the range's first process has its address.
const BridgeName = "ld0"

// Range is a range as its first process sees it.
type Range struct {
	// Offload lets the kernel move pieces larger than a packet over the links, which costs less. It is for runs in which no single
	// packet matters, and is set before the first host.
	Offload bool

	cgroups Group
	bridge  netlink.Link
	next    byte
}

// BridgeAddr is the address of the range's first process on the bridge.
const BridgeAddr = "10.77.0.1"

// strangersAddr is another address of the bridge, for clients that are part of a fault: a host's kernel tells them from all others by it.
const strangersAddr = "10.77.0.254"

// Setup prepares the namespaces that this process was started in. group is where the hosts' cgroups go.
func Setup(group Group) (*Range, error) {
	if err := mounts(); err != nil {
		return nil, err
	}
	// What keeps the clock, reads the record and breaks things is a small part of the machine, and must not wait for the rest.
	// Where the kernel groups by session, this session is weighed as at nice −10; elsewhere, and without root, nothing happens.
	_ = os.WriteFile("/proc/self/autogroup", []byte("-10"), 0)
	r := &Range{cgroups: group, next: 2}
	if err := r.makeBridge(); err != nil {
		return nil, fmt.Errorf("range: bridge: %w", err)
	}
	return r, nil
}

func mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("range: private mounts: %w (in a chroot, its root must be a mount point: mount --bind DIR DIR before it)", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("range: /proc: %w", err)
	}
	// /run is replaced as a whole: sockets of the machine's own daemons are no business of a range.
	if err := unix.Mount("livedrill", filepath.Dir(Base), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=2g"); err != nil {
		return fmt.Errorf("range: %s: %w", filepath.Dir(Base), err)
	}
	for _, dir := range []string{Base, Base + "/net", Base + "/sock", Base + "/conf", Base + "/data"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("range: %w", err)
		}
	}
	if err := bindNamespace(filepath.Join(Base, "net", "bridge")); err != nil {
		return err
	}
	// No name of the outside means anything here, and nobody shall wait for a resolver that cannot be reached.
	if err := replaceFile("/etc/resolv.conf", "# a range has no way out\n"); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// diskSize is that of a component's own file system, in bytes.
const diskSize = 512 << 20

// MakeDisk makes a directory with a file system of its own: what fills it up hurts nobody else.
func MakeDisk(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if err := unix.Mount("livedrill", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=755,size=%d", diskSize)); err != nil {
		return fmt.Errorf("disk %s: %w", dir, err)
	}
	return nil
}

// replaceFile puts text in the place of a file, for this mount namespace only. A file that is not there cannot be replaced.
func replaceFile(path, text string) error {
	own := filepath.Join(Base, "conf", filepath.Base(path))
	if err := os.WriteFile(own, []byte(text), 0o644); err != nil {
		return fmt.Errorf("range: %w", err)
	}
	real, err := followed(path)
	if err != nil {
		return fmt.Errorf("range: %w", err)
	}
	if err := unix.Mount(own, real, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("range: %s: %w", path, err)
	}
	return nil
}

// followed is the file that a path leads to. Some link /etc/resolv.conf into /run, which a range has one of its own of: there the file is
// made first.
func followed(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, os.ErrNotExist) {
		return real, err
	}
	link, noLink := os.Readlink(path)
	if noLink != nil {
		return "", err
	}
	if !filepath.IsAbs(link) {
		link = filepath.Join(filepath.Dir(path), link)
	}
	if !strings.HasPrefix(link, filepath.Dir(Base)+"/") {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return "", err
	}
	return link, os.WriteFile(link, nil, 0o644)
}

// bindNamespace keeps the calling thread's network namespace under a name.
func bindNamespace(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("range: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("range: network namespace %s: %w", path, err)
	}
	return nil
}

func (r *Range) makeBridge() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = BridgeName
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return err
	}
	for _, addr := range []string{BridgeAddr, strangersAddr} {
		if err := netlink.AddrAdd(bridge, address(addr)); err != nil {
			return err
		}
	}
	r.bridge = bridge
	return netlink.LinkSetUp(bridge)
}

func address(ip string) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)}}
}

// AskForNames makes every program in the range ask a host for the addresses of names, and tells whether they do: on a machine without
// /etc/resolv.conf names stand in /etc/hosts, and nobody asks.
func (r *Range) AskForNames(server *Host, names map[string]string) (asked bool, err error) {
	// No search list: a name of one word is asked for as it is.
	resolver := fmt.Sprintf("nameserver %s\nsearch .\noptions ndots:1 timeout:1 attempts:2\n", server.Addr)
	known := "127.0.0.1 localhost\n"
	err = replaceFile("/etc/resolv.conf", resolver)
	if asked = err == nil; errors.Is(err, os.ErrNotExist) {
		for name, addr := range names {
			known += addr + " " + name + "\n"
		}
		err = nil
	}
	if err == nil {
		err = replaceFile("/etc/hosts", known)
	}
	if asked && errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return asked, err
}

// Group makes a cgroup beside those of the hosts, for a part of what runs on one of them.
func (r *Range) Group(name string) (target.Cgroup, error) { return r.cgroups.Sub(name) }
