package rtc

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagrams are packets that go to one address with one system call (sendmmsg(2)). It never waits: what the kernel has no room for is lost, as it
// would be in any queue behind it.
type datagrams struct {
	raw  syscall.RawConn
	to   unix.RawSockaddrInet4
	iov  []unix.Iovec
	head []mmsghdr
	try  func(fd uintptr) bool
	lost int
	err  error
}

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	unix.Msghdr
	sent uint32 // bytes; the kernel writes it
}

func newDatagrams(conn *net.UDPConn) (*datagrams, error) {
	raw, err := conn.SyscallConn()
	d := &datagrams{raw: raw}
	d.try = d.attempt // made once: a closure for every frame would cost an allocation
	return d, err
}

// towards sets where they go.
func (d *datagrams) towards(to netip.AddrPort) {
	d.to = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	port := to.Port()
	d.to.Port = port<<8 | port>>8 // in the network's order; every machine that we build for has the other one
}

// add takes a packet into the next send. It must not change before.
func (d *datagrams) add(packet []byte) {
	d.iov = append(d.iov, unix.Iovec{Base: unsafe.SliceData(packet)})
	d.iov[len(d.iov)-1].SetLen(len(packet))
}

// send sends what was added, and tells how many packets were lost at once.
func (d *datagrams) send() (lost int, err error) {
	d.head = d.head[:0]
	for i := range d.iov {
		m := mmsghdr{}
		m.Name, m.Namelen = (*byte)(unsafe.Pointer(&d.to)), unix.SizeofSockaddrInet4
		m.Iov = &d.iov[i]
		m.SetIovlen(1)
		d.head = append(d.head, m)
	}
	d.lost, d.err = 0, nil
	err = errors.Join(d.raw.Write(d.try), d.err)
	d.iov = d.iov[:0]
	return d.lost, err
}

func (d *datagrams) attempt(fd uintptr) bool {
	for rest := d.head; len(rest) > 0; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			rest = rest[n:]
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EPERM: // nothing is wrong with the socket
			d.lost++
			rest = rest[1:]
		default:
			d.err = errno
			rest = nil
		}
	}
	runtime.KeepAlive(d)
	return true
}
