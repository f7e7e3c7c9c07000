package scenarios

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/injectors"
	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/injectors/network"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target/stack"
	"github.com/livedrill/livedrill/target/unit"
)

// Path is how far a region's people are from the platform, by their carrier: near an edge, or across a country. It is there for the whole
// run, and no fault.
type Path struct {
	RTT    unit.Duration `json:"rtt" help:"what every round trip takes longer"`
	Jitter unit.Duration `json:"jitter" help:"how far single packets are from that: half the width"`
}

// paths reads the paths by region, and holds them against the faults: one queue has one user.
func (d *decoder) paths(n *yaml.Node, faults []Fault) map[string]Path {
	if n == nil {
		return nil
	}
	out := map[string]Path{}
	for key, value := range d.pairs(n, "paths") {
		at := join("paths", key.Value)
		var p Path
		d.decode(value, reflect.ValueOf(&p).Elem(), at)
		switch {
		case !slices.Contains(stack.Regions, key.Value):
			d.problem(key, at, "no region %q%s", key.Value, reports.Nearest(key.Value, stack.Regions))
		case p.RTT < unit.Duration(time.Millisecond) || p.RTT > unit.Duration(2*time.Second):
			d.problem(value, at, "rtt: %s is not between 1ms and 2s", p.RTT)
		case p.Jitter > p.RTT/2:
			d.problem(value, at, "jitter: %s is more than half the round trip", p.Jitter)
		}
		for _, f := range faults {
			kind, _ := faultkinds.Find(f.Kind)
			if delay, _ := faultkinds.Find("network.delay"); f.On == stack.ViewerHost(key.Value) && kind.Fights(delay) != "" {
				d.problem(value, at, "%s is on the same packets: put it on another component", f.ID)
			}
		}
		out[key.Value] = p
	}
	return out
}

// lengthen makes the paths as long as the scenario has them, and measures them.
func (d *drill) lengthen(ctx context.Context) error {
	for _, region := range slices.Sorted(maps.Keys(d.story.Paths)) {
		p := d.story.Paths[region]
		on, err := d.stack.Platform().Find(stack.ViewerHost(region))
		if err != nil {
			return err
		}
		delay := network.Delay{By: p.RTT, Jitter: p.Jitter, Distribution: "uniform", Drawn: injectors.Drawn{Seed: d.story.Seed}}
		delay.Direction = network.To
		if err := delay.Check(ctx, on); err != nil {
			return fmt.Errorf("path of %s: %w", region, err)
		}
		if err := delay.Inject(ctx, on); err != nil {
			return fmt.Errorf("path of %s: %w", region, err)
		}
		m, err := delay.Effect(ctx, on)
		if err != nil {
			return fmt.Errorf("path of %s: %w", region, err)
		}
		is := m.Is["delay_seconds"]
		d.know(func(f *reports.Facts) {
			f.Paths = append(f.Paths, reports.Path{Region: region, Asked: p.RTT.Seconds(), Measured: is, N: float64(m.N)})
		})
		if off := is - p.RTT.Seconds(); m.N == 0 || off > max(p.RTT.Seconds()/5, 2e-3) || -off > p.RTT.Seconds()/5 {
			d.problem("the path of %s is %s long and not %s", region, time.Duration(is*1e9).Round(10*time.Microsecond), p.RTT)
		}
	}
	return nil
}
