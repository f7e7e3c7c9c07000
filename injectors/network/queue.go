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
	"sync"
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
	ends := ends(on.Handles.Network)
	errs := make([]error, len(ends))
	var wg sync.WaitGroup
	for i, e := range ends {
		wg.Go(func() { errs[i] = e.dequeue(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dequeue lets all packets go on from now on, and takes our rules at the end away, which takes the kernel a moment.
func (e end) dequeue(ctx context.Context) error {
	var letting sync.WaitGroup
	letting.Go(func() { injectors.End(e.queueName()) })
	defer letting.Wait()
	left, err := e.rules(ctx)
	if errors.Is(err, os.ErrNotExist) { // the range is gone, and the rule with it
		err = nil
	}
	for _, rule := range left {
		if err == nil {
			_, err = e.iptables(ctx, append([]string{"-D"}, rule[1:]...)...)
		}
	}
	return err
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

// overflows reads how many packets the link's own queues have dropped, in the kernel and on the way to us. Without root the kernel keeps those of
// the bridge to itself, as that namespace is older than the map of its users: then nothing is known.
func overflows(ctx context.Context, on *target.Network) (drops uint64, known bool, err error) {
	for _, e := range ends(on) {
		own, err := e.rules(ctx)
		if err != nil {
			return 0, false, err
		}
		for _, rule := range own {
			at := slices.Index(rule, "--queue-num")
			if at < 0 || at+1 == len(rule) {
				continue
			}
			var text []byte
			err := hosts.InNamespace(e.namespace, func() (err error) {
				text, err = os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_queue")
				return err
			})
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
				return 0, false, nil
			}
			if err != nil {
				return 0, false, err
			}
			drops += droppedBy(string(text), rule[at+1])
		}
	}
	return drops, true, nil
}

// droppedBy reads what a queue dropped, in the kernel and on the way to us, from the kernel's table of queues.
func droppedBy(table, queue string) (drops uint64) {
	for line := range strings.Lines(table) {
		var port, waiting, mode, size, dropped, userDropped uint64
		var number string
		if n, _ := fmt.Sscan(line, &number, &port, &waiting, &mode, &size, &dropped, &userDropped); n == 7 && number == queue {
			drops += dropped + userDropped
		}
	}
	return drops
}

// probed is what a probe saw in the fault's direction, or in both.
type probed struct {
	flows []flow
	drops uint64 // by the queues meanwhile: a fault whose queue overflows is not what was asked for
	known bool   // whether that could be read
}

// watched runs a probe.
func (q queued) watched(ctx context.Context, on *target.Network, last time.Duration) (p probed, err error) {
	before, known, err := overflows(ctx, on)
	if err != nil {
		return p, err
	}
	toHost, fromHost, err := probeFor(ctx, on, probePackets, probeSize, probeTime, last+grace)
	if err != nil {
		return p, err
	}
	after, still, err := overflows(ctx, on)
	return probed{q.Direction.of(toHost, fromHost), after - min(before, after), known && still}, err
}

// whole tells whether no packet was lost to a queue that overflowed. Where the queues' own counters are not to be had, one that did would show as
// loss.
func (p probed) whole() bool {
	if p.known {
		return p.drops == 0
	}
	return !slices.ContainsFunc(p.flows, func(f flow) bool { return f.loss() > 0.01 })
}

// note puts the queues' drops beside what else was measured, if they are known, and gives them in words.
func (p probed) note(m *injectors.Measured) string {
	if !p.known {
		return "what the queue dropped is not known"
	}
	m.Is["queue_drops"] = float64(p.drops)
	return fmt.Sprintf("%d were dropped by the queue", p.drops)
}
