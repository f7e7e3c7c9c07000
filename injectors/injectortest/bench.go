package injectortest

import (
	"slices"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Bench measures, over rounds, the time from the order to the full effect, and from the order to restore to its end: p99 in milliseconds,
// to be held against 50. That the effect is there when Inject returns, and gone when Restore does, is seen in one round of twenty: a look takes
// far longer than the order.
func Bench(b *testing.B, f injectors.Fault, on target.Component) {
	b.Helper()
	look := func(want string, good func(injectors.Measured) bool) {
		b.Helper()
		if m, err := f.Effect(b.Context(), on); err != nil || !good(m) {
			b.Errorf("after the order it is not %s: %+v, %v", want, m, err)
		}
	}
	if err := f.Check(b.Context(), on); err != nil {
		b.Skip(err)
	}
	var in, out []time.Duration
	for i := range b.N {
		was, err := f.Save(b.Context(), on)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := f.Inject(b.Context(), on); err != nil {
			b.Fatal(err)
		}
		in = append(in, time.Since(start))
		if i%20 == 0 {
			look("in effect", func(m injectors.Measured) bool { return m.Bites })
		}
		start = time.Now()
		if err := f.Restore(b.Context(), on, was); err != nil {
			b.Fatal(err)
		}
		out = append(out, time.Since(start))
		if i%20 == 0 {
			look("gone", func(m injectors.Measured) bool { return m.Clean })
		}
	}
	b.ReportMetric(p99(in), "inject-p99-ms")
	b.ReportMetric(p99(out), "restore-p99-ms")
	if slow := max(p99(in), p99(out)); slow > 50 {
		b.Logf("NOT HELD: %.0f ms, at most 50 are promised", slow)
	}
}

func p99(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)*99/100].Microseconds()) / 1000
}
