package hosts_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

// TestCapture sends datagrams before and during a recording, and finds all of them in the file of the host that they were sent to, and
// none in that of another.
func TestCapture(t *testing.T) {
	r := hoststest.Range(t)
	var all []*hosts.Host
	for _, name := range []string{"capture-from", "capture-to", "capture-other"} {
		h, err := r.AddHost(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	from, to, other := all[0], all[1], all[2]
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	captures := map[*hosts.Host]*hosts.Capture{}
	for _, h := range []*hosts.Host{to, other} {
		c, err := h.Capture()
		if err != nil {
			t.Fatal(err)
		}
		captures[h] = c
		go func() { ended <- c.Run(ctx) }()
	}
	var receiver *net.UDPConn
	err := to.Do(func() (err error) {
		receiver, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(to.Addr)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	send := func(text string) {
		t.Helper()
		err := from.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			at := receiver.LocalAddr().(*net.UDPAddr)
			return unix.Sendto(fd, []byte(text+strings.Repeat(".", 1000-len(text))), 0, &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())})
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = receiver.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := receiver.Read(make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	send("early-bird")
	var file, nothing bytes.Buffer
	recording, elsewhere := captures[to].Record(&file), captures[other].Record(&nothing)
	for range 20 {
		send("in-the-middle")
	}
	// What the receiver has read, the capture may not have yet.
	for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); {
		var look bytes.Buffer
		if _, _, err := captures[to].End(captures[to].Record(&look)); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(look.Bytes(), []byte("in-the-middle")) == 20 {
			break
		}
	}
	packets, missed, err := captures[to].End(recording)
	if err != nil || missed != 0 {
		t.Errorf("%d packets, %d missed: %v", packets, missed, err)
	}
	if _, _, err := captures[other].End(elsewhere); err != nil {
		t.Error(err)
	}
	send("too-late")
	cancel()
	for range captures {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}

	found := map[string]int{}
	for _, p := range readPcap(t, file.Bytes()) {
		for _, text := range []string{"early-bird", "in-the-middle", "too-late"} {
			if bytes.Contains(p.head, []byte(text)) {
				found[text]++
				if want := 1000 + 8 + 20 + 14; p.length != want || len(p.head) != 128 {
					t.Errorf("a packet of %d bytes, %d of them kept: want %d, 128", p.length, len(p.head), want)
				}
				if age := time.Since(p.at); age < 0 || age > time.Minute {
					t.Errorf("a packet came %v ago", age)
				}
			}
		}
	}
	if found["early-bird"] != 1 || found["in-the-middle"] != 20 || found["too-late"] != 0 {
		t.Errorf("in the file: %v", found)
	}
	if bytes.Contains(nothing.Bytes(), []byte("in-the-middle")) {
		t.Error("another host has seen them")
	}
}

type pcapPacket struct {
	at     time.Time
	length int
	head   []byte
}

// readPcap is a reader of its own (draft-ietf-opsawg-pcap).
func readPcap(t *testing.T, file []byte) (out []pcapPacket) {
	t.Helper()
	if len(file) < 24 || binary.NativeEndian.Uint32(file) != 0xa1b23c4d || binary.NativeEndian.Uint32(file[20:]) != 1 {
		t.Fatalf("no pcap file of Ethernet: %x", file[:min(len(file), 24)])
	}
	for file = file[24:]; len(file) > 0; {
		if len(file) < 16 {
			t.Fatal("it is torn")
		}
		at := time.Unix(int64(binary.NativeEndian.Uint32(file)), int64(binary.NativeEndian.Uint32(file[4:])))
		kept, length := int(binary.NativeEndian.Uint32(file[8:])), int(binary.NativeEndian.Uint32(file[12:]))
		if len(file) < 16+kept {
			t.Fatal("it is torn")
		}
		out = append(out, pcapPacket{at, length, file[16 : 16+kept]})
		file = file[16+kept:]
	}
	return out
}
