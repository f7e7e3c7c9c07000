package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// overflows reads how many packets the link's own queues have dropped, in the kernel and on the way to us. Without root the kernel keeps those of
// the bridge to itself, as that namespace is older than the map of its users: then nothing is known.
func overflows(on *target.Network) (drops uint64, known bool, err error) {
	for _, e := range ends(on) {
		own, err := e.diverted()
		if err != nil {
			return 0, false, err
		}
		for _, r := range own {
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
			drops += droppedBy(string(text), queueOf(r))
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
	before, known, err := overflows(on)
	if err != nil {
		return p, err
	}
	toHost, fromHost, err := probeFor(ctx, on, probePackets, probeSize, probeTime, last+grace)
	if err != nil {
		return p, err
	}
	after, still, err := overflows(on)
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
	if p.drops == 0 {
		return "none was dropped by the queue"
	}
	return fmt.Sprintf("injector limited: %d were dropped by the queue", p.drops)
}
