package scenarios

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target/hosts"
)

// watchMachine offers what no single process knows: the machine's processor and memory, and each host's traffic and TCP
// connections. It is read when the record is. What is opened for that stays open as long as the range.
func watchMachine(m *record.Metrics, all []*hosts.Host) error {
	busy := &busyRatio{}
	m.GaugeFunc("livedrill_machine_busy_ratio", "Share of all processors' time that was not idle, since the reading before.", nil, busy.read)
	m.GaugeFunc("livedrill_machine_memory_used_ratio", "Share of the machine's memory that is not available.", nil, func() float64 {
		v, err := mem.VirtualMemory()
		if err != nil || v.Total == 0 {
			return 0
		}
		return 1 - float64(v.Available)/float64(v.Total)
	})
	ports := &portCounters{}
	for _, h := range all {
		labels := prometheus.Labels{"host": h.Name}
		port := h.Network().Port
		m.CounterFunc("livedrill_host_sent_bytes_total", "Bytes that the host sent over its link.", labels, func() float64 { return ports.read(port).fromHost })
		m.CounterFunc("livedrill_host_received_bytes_total", "Bytes that came to the host over its link.", labels, func() float64 { return ports.read(port).toHost })
		// The files belong to the network namespace that they were opened in: reading them again needs no way back there.
		var sockets, counters *os.File
		err := h.Do(func() (err error) {
			if sockets, err = os.Open("/proc/thread-self/net/sockstat"); err == nil {
				counters, err = os.Open("/proc/thread-self/net/snmp")
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("watch %s: %w", h.Name, err)
		}
		m.GaugeFunc("livedrill_host_tcp_connections", "TCP sockets in use on the host, listening ones included.", labels, func() float64 { return tcpInUse(sockets) })
		m.CounterFunc("livedrill_host_tcp_retransmits_total", "TCP segments that the host sent again.", labels, func() float64 {
			n, _ := hosts.CounterOf(io.NewSectionReader(counters, 0, 1<<16), "Tcp", "RetransSegs") // every kernel has it
			return n
		})
	}
	return nil
}

// busyRatio is the share of processor time in use between readings at least half a second apart.
type busyRatio struct {
	mu          sync.Mutex
	at          time.Time
	idle, total float64
	last        float64
}

func (b *busyRatio) read() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.at) < 500*time.Millisecond {
		return b.last
	}
	times, err := cpu.Times(false)
	if err != nil || len(times) == 0 {
		return b.last
	}
	t := times[0]
	idle := t.Idle + t.Iowait
	total := idle + t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal
	if spent := total - b.total; !b.at.IsZero() && spent > 0 {
		b.last = min(max(1-(idle-b.idle)/spent, 0), 1)
	}
	b.at, b.idle, b.total = time.Now(), idle, total
	return b.last
}

type traffic struct{ toHost, fromHost float64 }

// portCounters are the bridge's ends of all links, read together once for all series of a scrape.
type portCounters struct {
	mu    sync.Mutex
	at    time.Time
	ports map[string]traffic
}

func (p *portCounters) read(port string) traffic {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) > 100*time.Millisecond {
		if f, err := os.Open("/proc/self/net/dev"); err == nil {
			p.ports, p.at = map[string]traffic{}, time.Now()
			for lines := bufio.NewScanner(f); lines.Scan(); {
				name, rest, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
				var in, skip, out float64
				if ok {
					// What the bridge receives from a port was sent by its host (proc(5): bytes are fields 1 and 9).
					if n, _ := fmt.Sscan(rest, &in, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &out); n == 9 {
						p.ports[name] = traffic{toHost: out, fromHost: in}
					}
				}
			}
			_ = f.Close() // read only
		}
	}
	return p.ports[port]
}

// tcpInUse reads a host's own count of TCP sockets.
func tcpInUse(sockets *os.File) (n float64) {
	text := make([]byte, 1024)
	size, _ := sockets.ReadAt(text, 0) // it ends before the buffer does
	for line := range strings.Lines(string(text[:size])) {
		if rest, ok := strings.CutPrefix(line, "TCP: inuse "); ok {
			_, _ = fmt.Sscan(rest, &n) // the kernel's own form
		}
	}
	return n
}
