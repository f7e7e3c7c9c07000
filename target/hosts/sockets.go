package hosts

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// Socket is one TCP socket as the kernel shows it (proc(5), net/tcp).
type Socket struct {
	Port     uint16 // of this host
	Remote   netip.Addr
	State    string // 01 ESTABLISHED, 03 SYN_RECV, 0A LISTEN, ...
	Sent     uint64 // bytes that the other end has not taken yet
	Received uint64 // bytes that wait to be read; for a listener, connections that wait to be accepted
}

// Sockets walks the TCP sockets of the calling thread's network namespace.
func Sockets(each func(Socket)) error {
	for _, file := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if os.IsNotExist(err) {
			continue // without IPv6 there is no such file
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			var number, local, remote string
			var s Socket
			if n, _ := fmt.Sscanf(strings.TrimSpace(line), "%s %s %s %s %x:%x", &number, &local, &remote, &s.State, &s.Sent, &s.Received); n == 6 {
				s.Remote = kernelAddr(remote)
				_, port, _ := strings.Cut(local, ":")
				_, _ = fmt.Sscanf(port, "%x", &s.Port) // the kernel's own form
				each(s)
			}
		}
	}
	return nil
}

// kernelAddr reads "0100007F:1F90": words of the address in the machine's own order, which on all that Go runs Linux on that this was
// tried on is the little end first.
func kernelAddr(text string) netip.Addr {
	digits, _, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}
	}
	for i := 0; i < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr.Unmap()
}
