package process

import (
	"testing"

	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

// BenchmarkOrder leaves out what ends processes: how long they take to come back is their own affair.
func BenchmarkOrder(b *testing.B) {
	on := supervised(b, hoststest.Range(b), "bench")
	for _, name := range []string{"pause", "descriptors", "connection-hoard"} {
		b.Run(name, func(b *testing.B) { injectortest.Bench(b, faults[name](), on) })
	}
}
