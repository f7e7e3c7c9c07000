package resource

import (
	"testing"

	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

// BenchmarkOrder leaves out the OOM kill, of which the component's own hunger says when it comes, and the disks, which are no cgroup's.
func BenchmarkOrder(b *testing.B) {
	on := component(b, hoststest.Range(b), "bench")
	for _, name := range []string{"cpu", "cpu-burn", "memory", "pids"} {
		b.Run(name, func(b *testing.B) { injectortest.Bench(b, faults[name](), on) })
	}
}
