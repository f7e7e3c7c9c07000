package network

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target/unit"
)

// Kinds lists the faults of links. Two that take the same thing cannot be on one link together; where nothing passes, no other could be
// proven, nor could one that is told to a process that does not run.
var Kinds = []injectors.Kind{
	{Name: "network.loss", Summary: "a link loses packets: single ones at random, or in bursts", BackEnds: []string{"nftables"},
		Takes: "packets", Default: func() injectors.Fault { return &Loss{Share: 0.1, Direction: Both, Burst: 1} }},
	{Name: "network.partition", Summary: "a link is cut: nothing passes, and nobody is told", BackEnds: []string{"nftables"},
		Takes: "packets, queue, width, attackers", Default: func() injectors.Fault { return &Partition{Direction: Both} }},
	{Name: "network.reset", Summary: "TCP connections to a host are reset", BackEnds: []string{"nftables"},
		Takes: "packets", Default: func() injectors.Fault { return &Reset{Share: 1} }},
	{Name: "network.blackhole", Summary: "a host is dead, in one of four ways", BackEnds: []string{"nftables", "tbf", "SIGKILL"},
		Takes: "packets, queue, width, processes, attackers", Default: func() injectors.Fault { return &Blackhole{How: "blackholed", Direction: Both} }},
	{Name: "network.delay", Summary: "the path to or from a host becomes longer, evenly or with jitter", BackEnds: []string{"nfqueue"},
		Takes: "queue", Default: func() injectors.Fault {
			return &Delay{queued: queued{To}, By: unit.Duration(50 * time.Millisecond), Distribution: "uniform"}
		}},
	{Name: "network.reorder", Summary: "some packets to or from a host are overtaken by others", BackEnds: []string{"nfqueue"},
		Takes: "queue", Default: func() injectors.Fault {
			return &Reorder{single: single{queued: queued{To}, Share: 0.1}, By: unit.Duration(20 * time.Millisecond)}
		}},
	{Name: "network.duplicate", Summary: "some packets to or from a host arrive twice", BackEnds: []string{"nfqueue"},
		Takes: "queue", Default: func() injectors.Fault { return &Duplicate{single{queued: queued{To}, Share: 0.1}} }},
	{Name: "network.corrupt", Summary: "some packets to or from a host arrive with a wrong bit, and are dropped for it", BackEnds: []string{"nfqueue"},
		Takes: "queue, packets", Default: func() injectors.Fault { return &Corrupt{single{queued: queued{To}, Share: 0.1}} }},
	{Name: "network.rate", Summary: "a link becomes narrow, in both directions or one", BackEnds: []string{"tbf"},
		Takes: "width", Default: func() injectors.Fault { return &Rate{To: unit.Bitrate(2e6), Direction: Both} }},
	{Name: "network.rate-trace", Summary: "a link's width swings as a mobile carrier's does", BackEnds: []string{"tbf"},
		Takes: "width", Default: func() injectors.Fault {
			return &RateTrace{From: 500e3, To: 8e6, Step: unit.Duration(3 * time.Second), Direction: Both}
		}},
	{Name: "network.dns", Summary: "the name server answers wrongly, late, or with an old address", BackEnds: []string{"dns"}, On: "dns",
		Takes: "answers, processes", Default: func() injectors.Fault { return &DNS{Answer: "nxdomain", By: unit.Duration(2 * time.Second)} }},
	{Name: "network.flap", Summary: "a link goes down and up, over and over", BackEnds: []string{"link"},
		Takes: "link, packets, queue, width, attackers", Default: func() injectors.Fault { return &Flap{Every: unit.Duration(2 * time.Second), Down: 0.5} }},
}
