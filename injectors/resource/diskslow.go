package resource

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/unit"
)

// DiskSlow lets every read, write and sync of a component's disk take longer: an array that is being rebuilt, a volume over a network that is full, a
// neighbour with a backup. They do not wait for one another, and what the kernel has in memory is read from there.
type DiskSlow struct {
	onDrive
	By unit.Duration `json:"by" help:"how much longer each read, write and sync takes"`
}

// Validate finds settings that cannot work.
func (f *DiskSlow) Validate() error {
	if d := time.Duration(f.By); d < 5*time.Millisecond || d > 2*time.Second {
		return fmt.Errorf("by: %s is not between 5ms and 2s", f.By)
	}
	return nil
}

// Inject is part of injectors.Fault.
func (f *DiskSlow) Inject(ctx context.Context, on target.Component) error {
	return injectors.Tell(ctx, disk.Of(on), disk.Kind, target.Disk{Slow: time.Duration(f.By)})
}

// Effect times writes and reads of a page. It bites when the median is what was asked for, within a fifth or 5 ms; it is clean when the
// median is below half of that.
func (f *DiskSlow) Effect(ctx context.Context, on target.Component) (m injectors.Measured, err error) {
	by := time.Duration(f.By)
	n := min(10, max(1, int(500*time.Millisecond/by)))
	var all []time.Duration
	err = prepared(ctx, on, func() error {
		for range n {
			for _, p := range []probe{writes(on), reads(on)} {
				d, err := p.access(ctx)
				if err != nil {
					return err
				}
				all = append(all, d)
			}
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	slices.Sort(all)
	median, longest := all[n], all[2*n-1]
	return injectors.Measured{N: uint64(2 * n), Asked: map[string]float64{"access_seconds": by.Seconds()},
		Is:    map[string]float64{"access_seconds": median.Seconds(), "longest_seconds": longest.Seconds()},
		Bites: median >= by && median <= by+max(by/5, 5*time.Millisecond), Clean: median < by/2,
		Reason: fmt.Sprintf("half of %d accesses took up to %s", 2*n, median.Round(10*time.Microsecond))}, nil
}
