package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// probe sends UDP packets of a size over the link both ways, evenly over a time, and counts what arrives. toHost and
// fromHost are the two directions, as seen from the bridge.
func probe(ctx context.Context, on *target.Network, packets, size int, over time.Duration) (toHost, fromHost flow, err error) {
	return probeFor(ctx, on, packets, size, over, grace)
}

// probeFor is a probe whose last packets may take longer than usual.
func probeFor(ctx context.Context, on *target.Network, packets, size int, over, last time.Duration) (toHost, fromHost flow, err error) {
	atBridge, err := socket(on.Bridge, on.Peer)
	if err != nil {
		return flow{}, flow{}, err
	}
	defer atBridge.Close()
	atHost, err := socket(on.Namespace, on.Addr)
	if err != nil {
		return flow{}, flow{}, err
	}
	defer atHost.Close()
	defer context.AfterFunc(ctx, func() { _, _ = atBridge.Close(), atHost.Close() })() // nobody waits for the last packets then
	var wg sync.WaitGroup
	var there, back flow
	sent := make(chan struct{})
	wg.Go(func() { there = count(atHost, sent, last) })
	wg.Go(func() { back = count(atBridge, sent, last) })
	body := make([]byte, max(size-28, bodyLeast)) // 28: IPv4 and UDP headers
	start := time.Now()
	for i := range packets {
		if !target.Wait(ctx, time.Until(start.Add(over*time.Duration(i)/time.Duration(packets)))) {
			err = ctx.Err()
			break
		}
		binary.BigEndian.PutUint64(body, uint64(time.Now().UnixNano()))
		binary.BigEndian.PutUint32(body[8:], uint32(i))
		// A packet that the kernel refuses to take was not sent, and is not counted as lost.
		if _, werr := atBridge.WriteTo(body, atHost.LocalAddr()); werr == nil {
			toHost.sent++
		}
		if _, werr := atHost.WriteTo(body, atBridge.LocalAddr()); werr == nil {
			fromHost.sent++
		}
	}
	close(sent)
	wg.Wait()
	there.sent, back.sent = toHost.sent, fromHost.sent
	return there, back, errors.Join(err, ctx.Err())
}

// bodyLeast is a packet's time and number.
const bodyLeast = 12

// grace is how long the last packets may take.
const grace = 75 * time.Millisecond

// socket opens a UDP socket in a network namespace.
func socket(namespace, addr string) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := hosts.InNamespace(namespace, func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return conn, wideBuffer(conn)
}

// wideBuffer makes room for every packet of a probe whose reader gets no processor for a while: what overflows here would
// look like loss on the link. Root may go beyond the machine's usual limit; others get what that allows.
func wideBuffer(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	})
	if errors.Is(set, unix.EPERM) {
		set = conn.SetReadBuffer(16 << 20)
	}
	return errors.Join(err, set)
}

// count reads packets until all were sent and none has come for as long as the last may take. A reader that was kept
// waiting by a busy machine still reads all that is there.
func count(conn *net.UDPConn, sent <-chan struct{}, last time.Duration) (f flow) {
	buf := make([]byte, 2048)
	var begun, latest time.Time
	for quiet := false; ; {
		wait := last
		if quiet { // it was waited for already: this one is for a reader that could not run
			wait = grace
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return f
		}
		n, _, err := conn.ReadFromUDP(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return f
			}
			select {
			case <-sent:
			default:
				continue
			}
			if quiet || !errors.Is(err, os.ErrDeadlineExceeded) {
				f.took = latest.Sub(begun)
				return f
			}
			quiet = true
			continue
		}
		quiet = false
		if latest = time.Now(); f.received == 0 {
			begun = latest
		}
		if n < bodyLeast {
			continue // none of ours
		}
		f.received++
		f.at = append(f.at, latest.Sub(begun))
		if f.received > 1 { // the time begins with the first
			f.bytes += uint64(n + 28)
		}
		f.delays = append(f.delays, latest.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(buf)))))
		f.order = append(f.order, binary.BigEndian.Uint32(buf[8:]))
	}
}
