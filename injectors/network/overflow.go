package network

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// overflows reads how many packets the link's own queues have dropped, in the kernel and on the way to us.
func overflows(on *target.Network) (drops uint64, err error) {
	for _, e := range ends(on) {
		own, err := e.diverted()
		if err != nil {
			return 0, err
		}
		for _, r := range own {
			var text []byte
			err := hosts.InNamespace(e.namespace, func() (err error) {
				text, err = os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_queue")
				return err
			})
			if err != nil {
				return 0, fmt.Errorf("what the queue dropped: %w", err)
			}
			drops += droppedBy(string(text), queueOf(r))
		}
	}
	return drops, nil
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
}

// watched runs a probe.
func (q queued) watched(ctx context.Context, on *target.Network, last time.Duration) (p probed, err error) {
	before, err := overflows(on)
	if err != nil {
		return p, err
	}
	toHost, fromHost, err := probeFor(ctx, on, probePackets, probeSize, probeTime, last+grace)
	if err != nil {
		return p, err
	}
	after, err := overflows(on)
	return probed{q.Direction.of(toHost, fromHost), after - min(before, after)}, err
}

// note puts the queues' drops beside what else was measured, and gives them in words.
func (p probed) note(m *injectors.Measured) string {
	m.Is["queue_drops"] = float64(p.drops)
	if p.drops == 0 {
		return "none was dropped by the queue"
	}
	return fmt.Sprintf("injector limited: %d were dropped by the queue", p.drops)
}
