package network

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/dns"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"dns": dns.Serve})
	injectortest.Victim(faults)
	_ = flag.Set("test.parallel", "2") // it measures delays: more at a time would be among them
	hoststest.Main(m)
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"loss":             func() injectors.Fault { return &Loss{Share: 0.2, Direction: Both, Burst: 1} },
	"loss, one way":    func() injectors.Fault { return &Loss{Share: 0.2, Direction: From, Burst: 1} },
	"loss, mostly":     func() injectors.Fault { return &Loss{Share: 0.7, Direction: Both, Burst: 1} },
	"loss, bursts":     func() injectors.Fault { return &Loss{Share: 0.3, Direction: To, Burst: 4} },
	"partition":        func() injectors.Fault { return &Partition{Direction: To} },
	"reset":            func() injectors.Fault { return &Reset{Share: 1} },
	"blackhole":        func() injectors.Fault { return &Blackhole{How: "slow", Direction: Both} },
	"blackhole, reset": func() injectors.Fault { return &Blackhole{How: "reset", Direction: Both} },
	"rate, to":         func() injectors.Fault { return &Rate{To: 2e6, Direction: To} },
	"blackhole, from":  func() injectors.Fault { return &Blackhole{How: "blackholed", Direction: From} },
	"delay": func() injectors.Fault {
		return &Delay{queued: queued{To}, By: unit.Duration(50 * time.Millisecond), Distribution: "uniform"}
	},
	"delay, both ways": func() injectors.Fault {
		return &Delay{queued: queued{Both}, By: unit.Duration(30 * time.Millisecond), Distribution: "uniform"}
	},
	"delay, jitter": func() injectors.Fault {
		return &Delay{queued: queued{From}, By: unit.Duration(60 * time.Millisecond), Jitter: unit.Duration(15 * time.Millisecond), Distribution: "normal"}
	},
	"delay, correlated": func() injectors.Fault {
		return &Delay{queued: queued{To}, By: unit.Duration(60 * time.Millisecond), Jitter: unit.Duration(15 * time.Millisecond), Distribution: "normal", Correlation: 0.8}
	},
	"reorder": func() injectors.Fault {
		return &Reorder{single: single{queued: queued{Both}, Share: 0.1}, By: unit.Duration(20 * time.Millisecond)}
	},
	"duplicate":            func() injectors.Fault { return &Duplicate{single{queued: queued{To}, Share: 0.1}} },
	"duplicate, both ways": func() injectors.Fault { return &Duplicate{single{queued: queued{Both}, Share: 0.1}} },
	"corrupt":              func() injectors.Fault { return &Corrupt{single{queued: queued{To}, Share: 0.1}} },
	"corrupt, from":        func() injectors.Fault { return &Corrupt{single{queued: queued{From}, Share: 0.1}} },
	"rate":                 func() injectors.Fault { return &Rate{To: 2e6, Direction: Both} },
	"rate-trace": func() injectors.Fault {
		return &RateTrace{From: 1e6, To: 4e6, Step: unit.Duration(500 * time.Millisecond), Direction: From, Drawn: injectors.Drawn{Seed: 3}}
	},
	"flap": func() injectors.Fault { return &Flap{Every: unit.Duration(400 * time.Millisecond), Down: 0.5} },
	"dns":  nxdomain,
})

// like names the case that stands for others when a process is killed: one rule in the kernel, one queue, one bucket.
var like = map[string]string{"loss, one way": "loss", "loss, mostly": "loss", "partition": "loss", "reset": "loss", "blackhole": "rate", "blackhole, from": "loss", "blackhole, reset": "loss", "rate, to": "rate", "delay, jitter": "delay", "delay, correlated": "delay", "reorder": "delay",
	"duplicate": "delay", "duplicate, both ways": "delay, both ways", "corrupt": "delay", "corrupt, from": "delay, both ways", "loss, bursts": "loss"}

// TestConformance runs every network fault through the promises, on a link of its own.
func TestConformance(t *testing.T) {
	r := hoststest.Range(t)
	for i, name := range slices.Sorted(maps.Keys(faults)) {
		if name == "dns" { // no fault of a link: TestDNS
			continue
		}
		t.Run(name, func(t *testing.T) {
			host, err := r.AddHost(fmt.Sprintf("host%d", i))
			if err != nil {
				t.Fatal(err)
			}
			t.Parallel()
			on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
			injectortest.Run(t, injectortest.Case{Kind: name, Like: like[name], New: faults[name], On: on, State: func() (any, error) { return linkState(on.Handles.Network) }})
		})
	}
}

// TestBlackholeKilled is the way to die that is none of the link's: it needs somebody to kill, and somebody who starts that again.
func TestBlackholeKilled(t *testing.T) {
	host, err := hoststest.Range(t).AddHost("mortal")
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not on this machine")
	}
	ctx, stop := context.WithCancel(t.Context())
	over, dir := make(chan struct{}), t.TempDir()
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			p, err := host.Start(hosts.Command{Name: "mortal", Path: path, Log: filepath.Join(dir, "log"),
				Args: []string{"--port", "6379", "--bind", host.Addr, "--protected-mode", "no", "--save", "", "--dir", dir}})
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-p.Done():
			case <-ctx.Done():
				p.Stop(time.Second)
			}
			target.Wait(ctx, 20*time.Millisecond)
		}
	}()
	t.Cleanup(func() { stop(); <-over })
	on := target.Component{Name: host.Name, Addr: host.Addr, Ports: map[string]int{"redis": 6379}, Handles: target.Handles{Network: host.Network()}}
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool {
		m, err := new(process.Kill).Effect(t.Context(), on)
		return err == nil && m.Clean
	}); err != nil {
		t.Fatal(err)
	}
	f := &Blackhole{How: "killed", Direction: Both}
	restore := injectortest.Inject(t, f, on)
	injectortest.Proven(t.Context(), t, f, on)
	restore()
	injectortest.Gone(t.Context(), t, f, on)
}

// linkState is all that these faults may change: nftables' tables, queues and the link's own queue at both ends.
func linkState(n *target.Network) (any, error) {
	state := map[string]string{}
	for _, e := range ends(n) {
		if err := e.nft(func(c *nftables.Conn) error {
			own, err := rulesOf(c, e.chain())
			if err != nil {
				return err
			}
			state[e.device+" rules"] = fmt.Sprint(len(own))
			tables, err := c.ListTablesOfFamily(nftables.TableFamilyNetdev)
			if err != nil {
				return err
			}
			for _, table := range tables {
				if table.Name != tableOf(e) { // at the bridge, other links have theirs
					continue
				}
				sets, err := c.GetSets(table)
				if err != nil {
					return err
				}
				if len(sets) > 0 {
					state[e.device+" sets"] = fmt.Sprint(len(sets))
				}
			}
			return nil
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
	list, err := queues(n)
	state["queues"] = fmt.Sprint(list)
	return state, err
}

func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^TestConformance$/./^(is_proven|another)")
	injectortest.AsUser(t, "^TestDNS$/^is_proven")
}

// TestTogether puts two faults on one link that plan lets be there together: each is proven beside the other, and stays when the other goes.
func TestTogether(t *testing.T) {
	r := hoststest.Range(t)
	kinds := []string{"delay", "duplicate", "loss", "partition", "rate", "reorder", "reset"}
	of := func(name string) injectors.Kind {
		return Kinds[slices.IndexFunc(Kinds, func(k injectors.Kind) bool { return k.Name == "network."+name })]
	}
	for i, first := range kinds {
		for j, second := range kinds {
			if (i < j) != ((i+j)%2 == 0) || of(first).Fights(of(second)) != "" { // each pair once, begun by either
				continue
			}
			t.Run(first+" and "+second, func(t *testing.T) {
				host, err := r.AddHost(first + "-" + second)
				if err != nil {
					t.Fatal(err)
				}
				t.Parallel()
				on := target.Component{Name: host.Name, Handles: target.Handles{Network: host.Network()}}
				both, was := []injectors.Fault{faults[first](), faults[second]()}, make([]injectors.Original, 2)
				for i, f := range both {
					if err := f.Check(t.Context(), on); err != nil {
						t.Fatal(err)
					}
					if was[i], err = f.Save(t.Context(), on); err != nil {
						t.Fatal(err)
					}
					if err := f.Inject(t.Context(), on); err != nil {
						t.Fatal(err)
					}
				}
				injectortest.Proven(t.Context(), t, both[0], on)
				injectortest.Proven(t.Context(), t, both[1], on)
				for i, f := range both {
					if err := f.Restore(t.Context(), on, was[i]); err != nil {
						t.Fatal(err)
					}
					injectortest.Gone(t.Context(), t, f, on)
					if i == 0 {
						injectortest.Proven(t.Context(), t, both[1], on)
					}
				}
			})
		}
	}
}
