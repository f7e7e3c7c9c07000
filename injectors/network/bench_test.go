package network

import (
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func BenchmarkOrder(b *testing.B) {
	r := hoststest.Range(b)
	for name, fault := range map[string]injectors.Fault{
		"loss": &Loss{Share: 0.2, Direction: Both, Burst: 1}, "partition": &Partition{Direction: Both}, "reset": &Reset{Share: 1},
		"rate": &Rate{To: 2e6}, "delay": &Delay{queued: queued{To}, By: unit.Duration(50 * time.Millisecond), Distribution: "uniform"},
		"flap": &Flap{Every: unit.Duration(2 * time.Second), Down: 0.5},
	} {
		host, err := r.AddHost("bench-" + name)
		if err != nil {
			b.Fatal(err)
		}
		on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
		b.Run(name, func(b *testing.B) { injectortest.Bench(b, fault, on) })
	}
}
