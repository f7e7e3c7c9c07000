package network

import (
	"slices"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

// BenchmarkOrder measures, over rounds, the time from the order to the full effect, and from the order to restore to its end: p99 in
// milliseconds, to be held against 50.
func BenchmarkOrder(b *testing.B) {
	r := hoststest.Range(b)
	for name, fault := range map[string]injectors.Fault{
		"loss": &Loss{Share: 0.2, Direction: Both, Burst: 1}, "partition": &Partition{Direction: Both}, "reset": &Reset{Share: 1},
		"rate": &Rate{To: 2e6}, "delay": &Delay{By: unit.Duration(50 * time.Millisecond), Distribution: "uniform"},
	} {
		host, err := r.AddHost("bench-" + name)
		if err != nil {
			b.Fatal(err)
		}
		on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
		b.Run(name, func(b *testing.B) {
			var in, out []time.Duration
			for range b.N {
				was, err := fault.Save(b.Context(), on)
				if err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if err := fault.Inject(b.Context(), on); err != nil {
					b.Fatal(err)
				}
				in = append(in, time.Since(start))
				start = time.Now()
				if err := fault.Restore(b.Context(), on, was); err != nil {
					b.Fatal(err)
				}
				out = append(out, time.Since(start))
			}
			b.ReportMetric(p99(in), "inject-p99-ms")
			b.ReportMetric(p99(out), "restore-p99-ms")
		})
	}
}

func p99(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)*99/100].Microseconds()) / 1000
}
