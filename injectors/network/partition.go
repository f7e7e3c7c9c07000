package network

import (
	"context"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Partition cuts a host off: nothing passes its link, in one direction or both, and nobody is told.
type Partition struct {
	filtering
	Direction Direction `json:"direction" help:"both, to (the component) or from"`
}

// Validate finds settings that cannot work; there are none.
func (*Partition) Validate() error { return nil }

// Inject is part of injectors.Fault.
func (f *Partition) Inject(_ context.Context, on target.Component) error {
	return drop(on.Handles.Network, f.Direction, nil)
}

// Effect is that of a loss of everything.
func (f *Partition) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	m, _, err := lossEffect(ctx, on, f.Direction, 1, 1)
	return m, err
}
