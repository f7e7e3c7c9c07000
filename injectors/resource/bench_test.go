package resource

import (
	"testing"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

func BenchmarkOrder(b *testing.B) {
	on := component(b, hoststest.Range(b), "bench")
	for name, fault := range map[string]injectors.Fault{"cpu": &CPU{Cores: 0.1}, "pids": &PIDs{}, "cpu burn": &Burn{Processes: 1}} {
		b.Run(name, func(b *testing.B) { injectortest.Bench(b, fault, on) })
	}
}
