package network

import (
	"bytes"
	"cmp"
	"container/heap"
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

// fate is what becomes of one packet that comes to a host.
type fate struct {
	hold  time.Duration
	lost  bool
	hurt  bool // one bit of it is turned
	twice bool
}

// queued is what every fault has in common that decides packet by packet, in user space (NFQUEUE). It acts where packets come
// in at the receiver, so that the senders' own queues know nothing of it.
type queued struct{}

// mark is how our rule is known among others, whoever looks.
const mark = "livedrill"

// queueLength is how many packets the queue holds: 6,500 a second for the longest delay.
const queueLength = 65_535

// iptables runs the program on the host's mangle table and returns what it prints.
func iptables(ctx context.Context, on *target.Network, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "iptables", append([]string{"-w", "2", "-t", "mangle"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := hosts.InNamespace(on.Namespace, cmd.Run); err != nil {
		return "", fmt.Errorf("iptables %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// rules lists our rules on the host, as iptables itself writes them.
func rules(ctx context.Context, on *target.Network) ([][]string, error) {
	text, err := iptables(ctx, on, "-S", "PREROUTING")
	if err != nil {
		return nil, err
	}
	var out [][]string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); slices.Contains(fields, mark) && len(fields) > 2 {
			out = append(out, fields)
		}
	}
	return out, nil
}

// BackEnd is part of injectors.BackEnded.
func (queued) BackEnd() string { return "nfqueue" }

// Check is part of injectors.Fault.
func (queued) Check(ctx context.Context, on target.Component) error {
	if on.Handles.Network == nil {
		return errNoLink
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		return errors.New("iptables is missing on this machine (apt-get install iptables)")
	}
	before, err := rules(ctx, on.Handles.Network)
	if err == nil && len(before) > 0 {
		err = errors.New("another fault has the packets to this host in its hands already")
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
	left, err := rules(ctx, on.Handles.Network)
	if errors.Is(err, os.ErrNotExist) { // the range is gone, and the rule with it
		err = nil
	}
	for _, rule := range left {
		if err == nil {
			_, err = iptables(ctx, on.Handles.Network, append([]string{"-D"}, rule[1:]...)...)
		}
	}
	if err == nil {
		injectors.End(queueName(on.Handles.Network))
	}
	return err
}

func queueName(on *target.Network) string { return "queue " + on.Namespace }

// enqueue gives every packet to the host the fate that next decides. next is called for one packet after another.
func enqueue(ctx context.Context, on *target.Network, next func() fate) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ns, err := os.Open(on.Namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	copier, err := newCopier(on)
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
	err = injectors.Begin(ctx, queueName(on), func(ctx context.Context) {
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
		injectors.End(queueName(on))
		return fmt.Errorf("NFQUEUE: %w", err)
	}
	if _, err = iptables(ctx, on, "-A", "PREROUTING", "-i", on.Device, "-m", "comment", "--comment", mark,
		"-j", "NFQUEUE", "--queue-num", strconv.Itoa(int(number)), "--queue-bypass"); err != nil { // bypass: they pass when nobody reads
		injectors.End(queueName(on))
	}
	return err
}

// packet waits in the kernel for its verdict.
type packet struct {
	fate
	id   uint32
	due  time.Time
	data []byte // of those that are changed or sent twice
}

// waiting orders packets by the time that they are due, and by arrival where that is the same.
type waiting []packet

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(i, j int) bool {
	return cmp.Or(w[i].due.Compare(w[j].due), cmp.Compare(w[i].id, w[j].id)) < 0
}
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }

// Push is part of heap.Interface.
func (w *waiting) Push(p any) { *w = append(*w, p.(packet)) }

// Pop is part of heap.Interface.
func (w *waiting) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

// release lets packets go on when they are due, until ctx ends; then all at once, those too that are still on their way to us.
func release(ctx context.Context, queue *nfqueue.Nfqueue, second copier, arrived <-chan packet) {
	const onTheWay = 10 * time.Millisecond
	var held waiting
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for len(held) > 0 && (ctx.Err() != nil || time.Until(held[0].due) <= 0) {
			heap.Pop(&held).(packet).verdict(queue, second)
		}
		wait, done := time.Hour, ctx.Done()
		if len(held) > 0 {
			wait = time.Until(held[0].due)
		}
		if ctx.Err() != nil {
			wait, done = onTheWay, nil
		}
		timer.Reset(wait)
		select {
		case <-done:
		case p := <-arrived:
			heap.Push(&held, p)
		case <-timer.C:
			if ctx.Err() != nil && len(arrived) == 0 {
				return
			}
		}
	}
}

// verdict gives the verdict. One that is lost shows in the probe.
func (p packet) verdict(queue *nfqueue.Nfqueue, second copier) {
	if p.twice {
		second.send(p.data)
	}
	switch {
	case p.lost:
		_ = queue.SetVerdict(p.id, nfqueue.NfDrop)
	case p.hurt && len(p.data) > 28:
		p.data[28+(len(p.data)-28)/2] ^= 1 // behind the IP and UDP headers: the checksum finds it
		_ = queue.SetVerdictWithOption(p.id, nfqueue.NfAccept, nfqueue.WithAlteredPacket(p.data))
	default:
		_ = queue.SetVerdict(p.id, nfqueue.NfAccept)
	}
}

// overflows reads how many packets the host's queues have dropped, in the kernel and on the way to us.
func overflows(on *target.Network) (drops uint64, err error) {
	err = hosts.InNamespace(on.Namespace, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_queue")
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		for line := range strings.Lines(string(text)) {
			var number, port, waiting, mode, size, dropped, userDropped uint64
			if n, _ := fmt.Sscan(line, &number, &port, &waiting, &mode, &size, &dropped, &userDropped); n == 7 {
				drops += dropped + userDropped
			}
		}
		return err
	})
	return drops, err
}

// watched runs a probe and reports what the queues dropped meanwhile: a fault whose queue overflows is not what was asked for.
func watched(ctx context.Context, on *target.Network, last time.Duration) (toHost flow, drops uint64, err error) {
	before, err := overflows(on)
	if err != nil {
		return toHost, 0, err
	}
	if toHost, _, err = probeFor(ctx, on, probePackets, probeSize, probeTime, last+grace); err != nil {
		return toHost, 0, err
	}
	after, err := overflows(on)
	return toHost, after - before, err
}
