// Package kinds is the one list of every fault.
package kinds

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/gpu"
	"github.com/livedrill/livedrill/injectors/network"
	"github.com/livedrill/livedrill/injectors/redis"
	"github.com/livedrill/livedrill/target/unit"
)

// All lists every kind of fault.
var All = []injectors.Kind{
	{Name: "network.loss", Summary: "a link loses packets at random, in both directions", BackEnds: []string{"nftables"},
		On: injectors.AnyComponent, Default: func() injectors.Fault { return &network.Loss{Share: 0.1} }},
	{Name: "network.partition", Summary: "a link is cut: nothing passes, and nobody is told", BackEnds: []string{"nftables"},
		On: injectors.AnyComponent, Default: func() injectors.Fault { return &network.Partition{} }},
	{Name: "network.delay", Summary: "the path to a host becomes longer", BackEnds: []string{"nfqueue"},
		On: injectors.AnyComponent, Default: func() injectors.Fault { return &network.Delay{By: unit.Duration(50 * time.Millisecond)} }},
	{Name: "network.rate", Summary: "a link becomes narrow, in both directions", BackEnds: []string{"tbf"},
		On: injectors.AnyComponent, Default: func() injectors.Fault { return &network.Rate{To: unit.Bitrate(2e6)} }},
	{Name: "gpu.throttle", Summary: "the encoders lose speed, as on a card that has grown too hot", BackEnds: []string{"nvml", "emulated"},
		On: "transcode", Default: func() injectors.Fault {
			return &gpu.Throttle{To: 0.4, Over: unit.Duration(200 * time.Millisecond)}
		}},
	{Name: "redis.oom", Summary: "Redis is full and refuses writes", BackEnds: []string{"maxmemory"},
		On: "redis", Default: func() injectors.Fault { return &redis.OOM{Ballast: 8} }},
}

// Find returns a kind by its name.
func Find(name string) (injectors.Kind, bool) {
	for _, k := range All {
		if k.Name == name {
			return k, true
		}
	}
	return injectors.Kind{}, false
}
