package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// fate is what becomes of one packet.
type fate struct {
	hold  time.Duration
	hurt  bool // one bit of it is turned
	twice bool
}

// queued is what every fault has in common that decides packet by packet, in user space (NFQUEUE). It acts where packets come
// in: at the receiver, or at the bridge if they are the host's own, so that the senders' queues know nothing of it.
type queued struct {
	Direction Direction `json:"direction" help:"of the packets: to (the component), from or both"`
}

// queueLength is how many packets a queue holds: 21,800 a second for the longest delay.
const queueLength = 65_535

// BackEnd is part of injectors.BackEnded.
func (queued) BackEnd() string { return "nfqueue" }

// Check is part of injectors.Fault.
func (q queued) Check(_ context.Context, on target.Component) error {
	link := on.Handles.Network
	if link == nil {
		return errNoLink
	}
	if q.Direction != To {
		if err := hosts.InNamespace(link.Bridge, bridged); err != nil {
			return err
		}
	}
	before, err := queues(link)
	if err == nil && len(before) > 0 {
		err = errors.New("another fault has the packets of this host in its hands already")
	}
	return err
}

// bridged tells whether IP filters see what passes the bridge of this namespace, as it does on most machines with containers.
func bridged() error {
	text, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	if err == nil && strings.TrimSpace(string(text)) != "1" {
		err = errors.New("net.bridge.bridge-nf-call-iptables is off")
	}
	if err != nil {
		err = fmt.Errorf("direction: packets from a host pass the bridge unseen (modprobe br_netfilter): %w", err)
	}
	return err
}

// Save is part of injectors.Fault. A host that passed Check has no queue of ours: that is what there was.
func (queued) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	before, err := queues(on.Handles.Network)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(map[string]any{"queues": before})
}

// Restore is part of injectors.Fault. No packet comes to the queues any more when they are closed, and what is still held goes out at once:
// losing it would be another fault.
func (queued) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	return each(ends(on.Handles.Network), func(_ int, e end) error { return e.dequeue() })
}

func (e end) queueName() string { return "queue " + e.namespace + " " + e.device }

// enqueue gives every packet of the direction the fate that a stream decides; each direction has a stream of its own. A stream is asked for one
// packet after another.
func (q queued) enqueue(ctx context.Context, on *target.Network, stream func(number uint64) func() fate) error {
	err := each(q.Direction.ingress(on), func(way int, e end) error { return e.enqueue(ctx, on, stream(uint64(way))) })
	if err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, q.Restore(back, target.Component{Handles: target.Handles{Network: on}}, nil))
	}
	return err
}

// enqueue gives every packet that comes in at the end the fate that next decides.
func (e end) enqueue(ctx context.Context, on *target.Network, next func() fate) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ns, err := os.Open(e.namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	copier, err := newCopier(on, e)
	if err != nil {
		return err
	}
	number := uint16(1000 + rand.IntN(60_000)) // a queue of a process that is still dying would be in the way
	queue, err := nfqueue.Open(&nfqueue.Config{NetNS: int(ns.Fd()), NfQueue: number, MaxQueueLen: queueLength, MaxPacketLen: 0xffff,
		Copymode: nfqueue.NfQnlCopyPacket, AfFamily: unix.AF_INET, WriteTimeout: time.Second})
	if err != nil {
		return errors.Join(fmt.Errorf("NFQUEUE: %w", err), copier.Close())
	}
	if err := queue.Con.SetReadBuffer(32 << 20); err != nil { // a full socket drops without a word
		return errors.Join(fmt.Errorf("NFQUEUE: %w", err), queue.Close(), copier.Close())
	}
	arrived, ready := make(chan packet, queueLength), make(chan error, 1)
	take := func(a nfqueue.Attribute) int {
		p := packet{id: *a.PacketID, due: time.Now()}
		if a.HwAddr == nil || !bytes.HasPrefix(*a.HwAddr, copySource) {
			f := next()
			p.due, p.fate = p.due.Add(f.hold), f
		}
		if (p.hurt || p.twice) && a.Payload != nil {
			p.data = bytes.Clone(*a.Payload)
		}
		arrived <- p
		return 0
	}
	err = injectors.Begin(ctx, e.queueName(), func(ctx context.Context) {
		defer func() { _ = copier.Close() }() // there is nothing left to lose
		defer queue.Close()
		// The queue is read until every packet has its verdict: unbinding it drops what still waits.
		reading, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		err := queue.RegisterWithErrorFunc(reading, take, func(error) int { return 0 }) // the drop counters tell
		if ready <- err; err == nil {
			release(ctx, queue, copier, arrived)
		}
	})
	if err != nil {
		return errors.Join(err, queue.Close(), copier.Close())
	}
	if err := <-ready; err != nil {
		injectors.End(e.queueName())
		return fmt.Errorf("NFQUEUE: %w", err)
	}
	if err = e.divert(on, number); err != nil {
		injectors.End(e.queueName())
	}
	return err
}
