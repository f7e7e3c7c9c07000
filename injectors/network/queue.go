package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
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
	lost  bool
	hurt  bool // one bit of it is turned
	twice bool
}

// queued is what every fault has in common that decides packet by packet, in user space (NFQUEUE). It acts where packets come
// in: at the receiver, or at the bridge if they are the host's own, so that the senders' queues know nothing of it.
type queued struct {
	Direction Direction `json:"direction" help:"of the packets: to (the component), from or both"`
}

// queueLength is how many packets a queue holds: 6,500 a second for the longest delay.
const queueLength = 65_535

// iptables runs the program on the mangle table of the end's namespace and returns what it prints.
func (e end) iptables(ctx context.Context, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "iptables", append([]string{"-w", "2", "-t", "mangle"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := hosts.InNamespace(e.namespace, cmd.Run); err != nil {
		return "", fmt.Errorf("iptables %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// rules lists our rules for the end, as iptables itself writes them.
func (e end) rules(ctx context.Context) ([][]string, error) {
	text, err := e.iptables(ctx, "-S", "PREROUTING")
	if err != nil {
		return nil, err
	}
	var out [][]string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); slices.Contains(fields, tableOf(e)) && len(fields) > 2 {
			out = append(out, fields)
		}
	}
	return out, nil
}

// rules lists our rules for both ends of a link.
func rules(ctx context.Context, on *target.Network) (out [][]string, err error) {
	for _, e := range ends(on) {
		list, err := e.rules(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// BackEnd is part of injectors.BackEnded.
func (queued) BackEnd() string { return "nfqueue" }

// Check is part of injectors.Fault.
func (q queued) Check(ctx context.Context, on target.Component) error {
	link := on.Handles.Network
	if link == nil {
		return errNoLink
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		return errors.New("iptables is missing on this machine (apt-get install iptables)")
	}
	if q.Direction != To {
		if err := hosts.InNamespace(link.Bridge, bridged); err != nil {
			return err
		}
	}
	before, err := rules(ctx, link)
	if err == nil && len(before) > 0 {
		err = errors.New("another fault has the packets of this host in its hands already")
	}
	return err
}

// bridged tells whether iptables sees what passes the bridge of this namespace, as it does on most machines with containers.
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

// Save is part of injectors.Fault. A host that passed Check has no rule of ours: that is what there was.
func (queued) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	before, err := rules(ctx, on.Handles.Network)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(map[string]any{"rules": before})
}

// Restore is part of injectors.Fault. What is still held goes out at once: losing it would be another fault.
func (queued) Restore(ctx context.Context, on target.Component, _ injectors.Original) error {
	var errs []error
	for _, e := range ends(on.Handles.Network) {
		left, err := e.rules(ctx)
		if errors.Is(err, os.ErrNotExist) { // the range is gone, and the rule with it
			err = nil
		}
		for _, rule := range left {
			if err == nil {
				_, err = e.iptables(ctx, append([]string{"-D"}, rule[1:]...)...)
			}
		}
		if err == nil {
			injectors.End(e.queueName())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (e end) queueName() string { return "queue " + e.namespace + " " + e.device }

// enqueue gives every packet of the direction the fate that a stream decides; each direction has a stream of its own. A stream is asked for one
// packet after another.
func (q queued) enqueue(ctx context.Context, on *target.Network, stream func(number uint64) func() fate) error {
	for i, e := range q.Direction.ingress(on) {
		if err := e.enqueue(ctx, on, stream(uint64(i))); err != nil {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(err, q.Restore(back, target.Component{Handles: target.Handles{Network: on}}, nil))
		}
	}
	return nil
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
	comesIn := []string{"-i", e.device}
	if e.device == on.Port { // it is the bridge that packets come in at, and the port what it has them from
		comesIn = []string{"-m", "physdev", "--physdev-in", e.device}
	}
	if _, err = e.iptables(ctx, slices.Concat([]string{"-A", "PREROUTING"}, comesIn, []string{"-m", "comment", "--comment", tableOf(e),
		"-j", "NFQUEUE", "--queue-num", strconv.Itoa(int(number)), "--queue-bypass"})...); err != nil { // bypass: they pass when nobody reads
		injectors.End(e.queueName())
	}
	return err
}

// overflows reads how many packets the queues at both ends have dropped, in the kernel and on the way to us. Without root the kernel keeps
// those of the bridge to itself: that namespace is older than the map of its users. What is dropped there is missing from the probe only.
func overflows(on *target.Network) (drops uint64, err error) {
	for _, e := range ends(on) {
		if err := hosts.InNamespace(e.namespace, func() error {
			text, err := os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_queue")
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
				return nil
			}
			for line := range strings.Lines(string(text)) {
				var number, port, waiting, mode, size, dropped, userDropped uint64
				if n, _ := fmt.Sscan(line, &number, &port, &waiting, &mode, &size, &dropped, &userDropped); n == 7 {
					drops += dropped + userDropped
				}
			}
			return err
		}); err != nil {
			return 0, err
		}
	}
	return drops, nil
}

// watched runs a probe, gives what it saw in the fault's direction, or in both, and reports what the queues dropped meanwhile: a fault whose
// queue overflows is not what was asked for.
func (q queued) watched(ctx context.Context, on *target.Network, last time.Duration) (seen []flow, drops uint64, err error) {
	before, err := overflows(on)
	if err != nil {
		return nil, 0, err
	}
	toHost, fromHost, err := probeFor(ctx, on, probePackets, probeSize, probeTime, last+grace)
	if err != nil {
		return nil, 0, err
	}
	after, err := overflows(on)
	return q.Direction.of(toHost, fromHost), after - before, err
}
