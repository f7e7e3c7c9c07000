package injectortest

import (
	"slices"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Bench measures, over rounds, the time from the order to the full effect, and from the order to restore to its end: p99 in milliseconds,
// to be held against 50.
func Bench(b *testing.B, f injectors.Fault, on target.Component) {
	b.Helper()
	if err := f.Check(b.Context(), on); err != nil {
		b.Skip(err)
	}
	var in, out []time.Duration
	for range b.N {
		was, err := f.Save(b.Context(), on)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := f.Inject(b.Context(), on); err != nil {
			b.Fatal(err)
		}
		in = append(in, time.Since(start))
		start = time.Now()
		if err := f.Restore(b.Context(), on, was); err != nil {
			b.Fatal(err)
		}
		out = append(out, time.Since(start))
	}
	b.ReportMetric(p99(in), "inject-p99-ms")
	b.ReportMetric(p99(out), "restore-p99-ms")
}

func p99(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)*99/100].Microseconds()) / 1000
}
