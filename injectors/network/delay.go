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
	"github.com/livedrill/livedrill/target/unit"
)

// Delay makes a path longer: every packet that comes to the host is held for a time. It is done on the receiver's side, so
// that the senders' own queues know nothing of it; a round trip through the host grows by the delay once.
type Delay struct {
	By unit.Duration `json:"delay" help:"time that every packet to the host is held"`

	queue uint16
	mu    sync.Mutex
	stop  context.CancelFunc // ends the holding; nil while there is none
	done  chan struct{}
}

// Validate finds settings that cannot work.
func (f *Delay) Validate() error {
	if d := time.Duration(f.By); d < 5*time.Millisecond || d > 10*time.Second {
		return fmt.Errorf("delay: %s is not between 5ms and 10s", f.By)
	}
	return nil
}

// queueLength is how many packets the queue holds: 6,500 a second for the longest delay.
const queueLength = 65_535

// mark is how our rule is known among others, whoever looks.
const mark = "livedrill"

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
func (*Delay) BackEnd() string { return "nfqueue" }

// Check is part of injectors.Fault.
func (*Delay) Check(ctx context.Context, on target.Component) error {
	if on.Handles.Network == nil {
		return errNoLink
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		return errors.New("iptables is missing on this machine (apt-get install iptables)")
	}
	before, err := rules(ctx, on.Handles.Network)
	if err == nil && len(before) > 0 {
		err = errors.New("another delay is on this host already")
	}
	return err
}

// Save is part of injectors.Fault. A host that passed Check has no rule of ours: that is what there was.
func (*Delay) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	before, err := rules(ctx, on.Handles.Network)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(map[string]any{"rules": before})
}

// Inject is part of injectors.Fault.
func (f *Delay) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ns, err := os.Open(on.Handles.Network.Namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	f.queue = uint16(1000 + rand.IntN(60_000)) // a queue of a process that is still dying would be in the way
	queue, err := nfqueue.Open(&nfqueue.Config{NetNS: int(ns.Fd()), NfQueue: f.queue, MaxQueueLen: queueLength,
		Copymode: nfqueue.NfQnlCopyMeta, AfFamily: unix.AF_INET, WriteTimeout: time.Second})
	if err != nil {
		return fmt.Errorf("NFQUEUE: %w", err)
	}
	if err := queue.Con.SetReadBuffer(8 << 20); err != nil { // a full socket drops without a word
		return errors.Join(fmt.Errorf("NFQUEUE: %w", err), queue.Close())
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	held := make(chan heldPacket, queueLength)
	err = queue.RegisterWithErrorFunc(life, func(a nfqueue.Attribute) int {
		held <- heldPacket{*a.PacketID, time.Now().Add(time.Duration(f.By))}
		return 0
	}, func(error) int { return 0 }) // the drop counters tell
	if err == nil {
		_, err = iptables(ctx, on.Handles.Network, "-A", "PREROUTING", "-i", on.Handles.Network.Device, "-m", "comment", "--comment", mark,
			"-j", "NFQUEUE", "--queue-num", strconv.Itoa(int(f.queue)), "--queue-bypass") // bypass: they pass when nobody reads
	}
	if err != nil {
		stop()
		return errors.Join(err, queue.Close())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop, f.done = stop, make(chan struct{})
	go func() {
		defer close(f.done)
		release(life, queue, held)
	}()
	return nil
}

type heldPacket struct {
	id  uint32
	due time.Time
}

// release lets packets go on when they are due. They come in order, and all have the same delay.
func release(ctx context.Context, queue *nfqueue.Nfqueue, held <-chan heldPacket) {
	defer queue.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-held:
			if !target.Wait(ctx, time.Until(p.due)) {
				return
			}
			for more := true; more; { // all that are due by now go in one verdict
				select {
				case next := <-held:
					if time.Until(next.due) > 0 {
						_ = queue.SetVerdictBatch(p.id, nfqueue.NfAccept) // a lost verdict shows in the probe
						if !target.Wait(ctx, time.Until(next.due)) {
							return
						}
					}
					p = next
				default:
					more = false
				}
			}
			_ = queue.SetVerdictBatch(p.id, nfqueue.NfAccept) // as above
		}
	}
}

// Effect sends packets to the host and takes the median of the time that they need. It bites when that is what was asked for,
// within a fifth or 5 ms, and no queue overflowed; it is clean when it is less than half of it.
func (f *Delay) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	asked := time.Duration(f.By)
	dropped, err := f.overflows(on.Handles.Network)
	if err != nil {
		return injectors.Measured{}, err
	}
	toHost, _, err := probeFor(ctx, on.Handles.Network, 300, probeSize, probeTime, asked+grace)
	if err != nil {
		return injectors.Measured{}, err
	}
	after, err := f.overflows(on.Handles.Network)
	if err != nil {
		return injectors.Measured{}, err
	}
	median := toHost.median()
	m := injectors.Measured{N: toHost.received, Asked: map[string]float64{"delay_seconds": asked.Seconds()},
		Is: map[string]float64{"delay_seconds": median.Seconds(), "loss_ratio": toHost.loss(), "queue_drops": float64(after - dropped)}}
	tolerance := max(asked/5, 5*time.Millisecond)
	m.Bites = toHost.received > 0 && median > asked-tolerance && median < asked+tolerance && after == dropped
	m.Clean = toHost.received > 0 && median < asked/2 && toHost.loss() < 0.01
	m.Reason = fmt.Sprintf("the median delay of %d packets is %s, %d were dropped by the queue", toHost.received, median, after-dropped)
	return m, nil
}

// overflows reads how many packets the host's queue has dropped, in the kernel and on the way to us.
func (f *Delay) overflows(on *target.Network) (drops uint64, err error) {
	err = hosts.InNamespace(on.Namespace, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_queue")
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		for line := range strings.Lines(string(text)) {
			var number, port, waiting, mode, size, dropped, userDropped uint64
			if n, _ := fmt.Sscan(line, &number, &port, &waiting, &mode, &size, &dropped, &userDropped); n == 7 && number == uint64(f.queue) {
				drops += dropped + userDropped
			}
		}
		return err
	})
	return drops, err
}

// Restore is part of injectors.Fault.
func (f *Delay) Restore(ctx context.Context, on target.Component, _ injectors.Original) error {
	left, err := rules(ctx, on.Handles.Network)
	if errors.Is(err, os.ErrNotExist) { // the range is gone, and the rule with it
		err = nil
	}
	for _, rule := range left {
		if err == nil {
			_, err = iptables(ctx, on.Handles.Network, append([]string{"-D"}, rule[1:]...)...)
		}
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil {
		// What is held still goes out at its time: losing it would be another fault.
		if !target.Wait(ctx, time.Duration(f.By)+10*time.Millisecond) {
			return ctx.Err()
		}
		f.stop()
		<-f.done
		f.stop = nil
	}
	return nil
}

// median is the middle of the delays that were seen.
func (f flow) median() time.Duration {
	if len(f.delays) == 0 {
		return 0
	}
	slices.Sort(f.delays)
	return f.delays[len(f.delays)/2]
}
