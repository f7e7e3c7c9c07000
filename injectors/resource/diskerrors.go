package resource

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/unit"
)

// DiskErrors lets a share of the accesses to a component's disk fail with an input/output error (EIO), evenly spread: bad blocks, a loose
// cable, a controller that resets.
type DiskErrors struct {
	onDrive
	Share unit.Ratio `json:"share" help:"of the accesses"`
	Of    string     `json:"of" help:"reads, writes (and syncs) or all"`
}

// Validate finds settings that cannot work.
func (f *DiskErrors) Validate() error {
	var errs []error
	if f.Share < 0.01 || f.Share > 1 {
		errs = append(errs, fmt.Errorf("share: %s is not between 1%% and 100%%", f.Share))
	}
	if !slices.Contains([]string{"reads", "writes", "all"}, f.Of) {
		errs = append(errs, fmt.Errorf("of: %q is not reads, writes or all", f.Of))
	}
	return errors.Join(errs...)
}

// Inject is part of injectors.Fault.
func (f *DiskErrors) Inject(ctx context.Context, on target.Component) error {
	var order target.Disk
	if f.Of != "writes" {
		order.Reads = float64(f.Share)
	}
	if f.Of != "reads" {
		order.Writes = float64(f.Share)
	}
	return injectors.Tell(ctx, disk.Of(on), disk.Kind, order)
}

// Effect reads and writes a page a few hundred times, and counts what fails. It bites when both shares are within four standard errors of
// what was asked for: the component's own accesses come between.
func (f *DiskErrors) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	p, err := probeDisk(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer p.close()
	const n = 400
	m := injectors.Measured{N: n, Asked: map[string]float64{}, Is: map[string]float64{}, Bites: true, Clean: true}
	for name, do := range map[string]func() error{"reads": p.read, "writes": p.write} {
		count, err := failed(ctx, n, do)
		if err != nil {
			return m, err
		}
		asked := 0.0
		if f.Of == "all" || f.Of == name {
			asked = float64(f.Share)
		}
		is := float64(count) / n
		m.Asked["failed_"+name+"_ratio"], m.Is["failed_"+name+"_ratio"] = asked, is
		m.Bites = m.Bites && math.Abs(is-asked) <= 4*math.Sqrt(asked*(1-asked)/n)
		m.Clean = m.Clean && count == 0
	}
	m.Reason = fmt.Sprintf("of %d each, %.1f%% of the reads and %.1f%% of the writes fail", n, 100*m.Is["failed_reads_ratio"], 100*m.Is["failed_writes_ratio"])
	return m, nil
}
