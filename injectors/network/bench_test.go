package network

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

func BenchmarkOrder(b *testing.B) {
	r := hoststest.Range(b)
	for i, name := range slices.Sorted(maps.Keys(faults)) {
		if name == "dns" { // a server's answer: no link of a host
			continue
		}
		host, err := r.AddHost(fmt.Sprintf("bench%d", i))
		if err != nil {
			b.Fatal(err)
		}
		on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
		b.Run(name, func(b *testing.B) { injectortest.Bench(b, faults[name](), on) })
	}
}
