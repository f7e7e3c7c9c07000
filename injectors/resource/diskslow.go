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

// DiskSlow lets every access to a component's disk take longer: an array that is being rebuilt, a volume over a network that is full, a
// neighbour with a backup. Accesses do not wait for one another, and what the kernel has in memory is read from there.
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
func (f *DiskSlow) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	p, err := probeDisk(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer p.close()
	by := time.Duration(f.By)
	n := min(20, max(4, int(time.Second/by)))
	took := make([]time.Duration, 0, n)
	for i := range n {
		do := p.write
		if i%2 == 1 {
			do = p.read
		}
		d, err := timed(do)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return injectors.Measured{}, err
		}
		took = append(took, d)
	}
	slices.Sort(took)
	median := took[n/2]
	return injectors.Measured{N: uint64(n), Asked: map[string]float64{"access_seconds": by.Seconds()},
		Is:    map[string]float64{"access_seconds": median.Seconds(), "longest_seconds": took[n-1].Seconds()},
		Bites: median >= by && median <= by+max(by/5, 5*time.Millisecond), Clean: median < by/2,
		Reason: fmt.Sprintf("half of %d accesses took up to %s", n, median.Round(10*time.Microsecond))}, nil
}
