package network

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

// pipe is a socket on a host, and one on the bridge that sends to it.
func pipe(t *testing.T, on *target.Network) (receiver net.PacketConn, sender net.Conn) {
	t.Helper()
	err := hosts.InNamespace(on.Namespace, func() (err error) {
		receiver, err = net.ListenPacket("udp4", net.JoinHostPort(on.Addr, "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receiver.Close() })
	err = hosts.InNamespace(on.Bridge, func() (err error) {
		sender, err = net.Dial("udp4", receiver.LocalAddr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sender.Close() })
	return receiver, sender
}

// TestOverflow floods a link whose packets are held: the queue drops some, and that is not the fault that was asked for.
func TestOverflow(t *testing.T) {
	host, err := hoststest.Range(t).AddHost("flooded")
	if err != nil {
		t.Fatal(err)
	}
	on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
	f := &Delay{queued: queued{To}, By: unit.Duration(2 * time.Second), Distribution: "uniform"}
	defer injectortest.Inject(t, f, on)()
	_, sender := pipe(t, on.Handles.Network)
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for range 4 * queueLength {
			_, _ = sender.Write([]byte("x")) // some are to be lost
		}
	}()
	m, err := f.Effect(t.Context(), on)
	<-flooded
	if err != nil {
		t.Fatal(err)
	}
	if m.Bites || m.Is["queue_drops"] == 0 || !strings.Contains(m.Reason, "injector limited") {
		t.Errorf("a queue that overflows is taken for a delay: %+v", m)
	}
}

// TestHeldPacketsSurvive ends a loss while a delay holds packets of the same end of a link: they arrive all the same, but for what was lost.
func TestHeldPacketsSurvive(t *testing.T) {
	host, err := hoststest.Range(t).AddHost("held")
	if err != nil {
		t.Fatal(err)
	}
	on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
	endLoss := injectortest.Inject(t, &Loss{Share: 0.01, Direction: To, Burst: 1}, on)
	defer injectortest.Inject(t, &Delay{queued: queued{To}, By: unit.Duration(time.Second), Distribution: "uniform"}, on)()
	receiver, sender := pipe(t, on.Handles.Network)
	const n = 100
	for range n {
		if _, err := sender.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	endLoss()
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Skipf("the loss took %s to end: nothing was held any more", took)
	}
	if err := receiver.SetReadDeadline(began.Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range n - n/20 {
		if _, _, err := receiver.ReadFrom(make([]byte, 1)); err != nil {
			t.Fatalf("%d of %d packets that were held arrived: %v", i, n, err)
		}
	}
	if time.Since(began) < 500*time.Millisecond {
		t.Error("they were not held")
	}
}
