package resource

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/unit"
)

// DiskErrors lets a share of the reads, writes and syncs of a component's disk fail with an input/output error (EIO), evenly spread: bad blocks, a loose
// cable, a controller that resets.
type DiskErrors struct {
	onDrive
	Share unit.Ratio `json:"share" help:"of them"`
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

// Effect reads and writes a page a hundred times each or more, so that four should fail, and counts what does. It bites when both shares are
// within four standard errors of what was asked for, the component's own accesses come between, and something fails at all.
func (f *DiskErrors) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	n := max(100, int(math.Ceil(4/float64(f.Share))))
	m := injectors.Measured{N: uint64(n), Asked: map[string]float64{}, Is: map[string]float64{}, Bites: true, Clean: true}
	err := prepared(ctx, on, func() error {
		for name, p := range map[string]probe{"reads": reads(on), "writes": writes(on)} {
			count, err := p.failed(ctx, n)
			if err != nil {
				return err
			}
			asked := 0.0
			if f.Of == "all" || f.Of == name {
				asked = float64(f.Share)
			}
			is := float64(count) / float64(n)
			m.Asked["failed_"+name+"_ratio"], m.Is["failed_"+name+"_ratio"] = asked, is
			m.Bound("failed_"+name+"_ratio", float64(n))
			m.Bites = m.Bites && (count > 0) == (asked > 0) && math.Abs(is-asked) <= 4*math.Sqrt(asked*(1-asked)/float64(n))
			m.Clean = m.Clean && count == 0
		}
		return nil
	})
	m.Reason = fmt.Sprintf("of %d each, %.0f%% of the reads and %.0f%% of the writes fail", n, 100*m.Is["failed_reads_ratio"], 100*m.Is["failed_writes_ratio"])
	return m, err
}

// failed counts how many of n accesses fail as those of a broken disk do.
func (p probe) failed(ctx context.Context, n int) (count int, err error) {
	for range n {
		if _, err := p.access(ctx); errors.Is(err, unix.EIO) {
			count++
		} else if err != nil {
			return 0, err
		}
	}
	return count, nil
}
