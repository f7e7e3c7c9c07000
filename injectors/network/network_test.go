package network

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/dns"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"dns": dns.Serve})
	victims := maps.Clone(faults)
	victims["nxdomain"] = nxdomain
	injectortest.Victim(victims)
	hoststest.Main(m)
}

// faults are the cases, by name.
var faults = map[string]func() injectors.Fault{
	"loss":         func() injectors.Fault { return &Loss{Share: 0.2, Direction: Both, Burst: 1} },
	"loss one way": func() injectors.Fault { return &Loss{Share: 0.2, Direction: From, Burst: 1} },
	"loss by seed": func() injectors.Fault { return &Loss{Share: 0.2, Direction: Both, Burst: 1, Seed: 7} },
	"bursts":       func() injectors.Fault { return &Loss{Share: 0.3, Direction: To, Burst: 4, Seed: 7} },
	"bursts from":  func() injectors.Fault { return &Loss{Share: 0.3, Direction: From, Burst: 4, Seed: 7} },
	"partition":    func() injectors.Fault { return &Partition{Direction: To} },
	"reset":        func() injectors.Fault { return &Reset{Share: 1} },
	"blackhole":    func() injectors.Fault { return &Blackhole{How: "slow"} },
	"delay": func() injectors.Fault {
		return &Delay{queued: queued{To}, By: unit.Duration(50 * time.Millisecond), Distribution: "uniform"}
	},
	"delay both ways": func() injectors.Fault {
		return &Delay{queued: queued{Both}, By: unit.Duration(30 * time.Millisecond), Distribution: "uniform"}
	},
	"jitter": func() injectors.Fault {
		return &Delay{queued: queued{From}, By: unit.Duration(60 * time.Millisecond), Jitter: unit.Duration(15 * time.Millisecond), Distribution: "normal"}
	},
	"reorder": func() injectors.Fault {
		return &Reorder{single: single{queued{Both}, 0.1, 0}, By: unit.Duration(20 * time.Millisecond)}
	},
	"duplicate":           func() injectors.Fault { return &Duplicate{single{queued{To}, 0.1, 0}} },
	"duplicate both ways": func() injectors.Fault { return &Duplicate{single{queued{Both}, 0.1, 0}} },
	"corrupt":             func() injectors.Fault { return &Corrupt{single{queued{To}, 0.1, 0}} },
	"corrupt from":        func() injectors.Fault { return &Corrupt{single{queued{From}, 0.1, 0}} },
	"rate":                func() injectors.Fault { return &Rate{To: 2e6} },
	"rate trace": func() injectors.Fault {
		return &RateTrace{From: 1e6, To: 4e6, Step: unit.Duration(500 * time.Millisecond), Seed: 3}
	},
	"flap": func() injectors.Fault { return &Flap{Every: unit.Duration(400 * time.Millisecond), Down: 0.5} },
}

// like names the case that stands for others when a process is killed: one rule in the kernel, one queue, one bucket.
var like = map[string]string{"loss one way": "loss", "loss by seed": "delay both ways", "partition": "loss", "reset": "loss", "blackhole": "rate", "jitter": "delay", "reorder": "delay",
	"duplicate": "delay", "duplicate both ways": "delay both ways", "corrupt": "delay", "corrupt from": "delay both ways", "bursts": "delay", "bursts from": "delay both ways"}

// TestConformance runs every network fault through the promises, on a link of its own.
func TestConformance(t *testing.T) {
	r := hoststest.Range(t)
	_, err := exec.LookPath("iptables")
	for i, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			if err != nil && injectors.BackEnd(faults[name]()) == "nfqueue" {
				t.Skip("iptables is not on this machine")
			}
			host, err := r.AddHost(fmt.Sprintf("host%d", i))
			if err != nil {
				t.Fatal(err)
			}
			t.Parallel()
			on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
			injectortest.Run(t, injectortest.Case{Kind: name, Like: like[name], New: faults[name], On: on, State: func() (any, error) { return linkState(t.Context(), on.Handles.Network) }})
		})
	}
}

// linkState is all that these faults may change: nftables' tables and queues at both ends.
func linkState(ctx context.Context, n *target.Network) (any, error) {
	state := map[string]string{}
	for _, e := range ends(n) {
		if err := e.nft(func(c *nftables.Conn) error {
			tables, err := c.ListTablesOfFamily(nftables.TableFamilyNetdev)
			for _, t := range tables {
				if t.Name == tableOf(e) { // at the bridge, other links have theirs
					state[e.device+" table "+t.Name] = fmt.Sprint(t.Family)
				}
			}
			return err
		}); err != nil {
			return nil, err
		}
		if err := e.inside(func(l netlink.Link) error {
			state[e.device+" up"] = fmt.Sprint(l.Attrs().RawFlags & 1)
			list, err := netlink.QdiscList(l)
			for _, q := range list {
				state[e.device+" queue"] = q.Type()
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	if path, _ := exec.LookPath("iptables"); path == "" {
		return state, nil
	}
	list, err := rules(ctx, n)
	state["queue rules"] = fmt.Sprint(list)
	return state, err
}

func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^TestConformance$/./^(is_proven|another)")
}
