package network

import (
	"context"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Partition cuts a host off: nothing passes its link in either direction, and nobody is told.
type Partition struct{ dropping }

// Validate finds settings that cannot work; there are none.
func (*Partition) Validate() error { return nil }

// Inject is part of injectors.Fault.
func (*Partition) Inject(_ context.Context, on target.Component) error {
	return drop(on.Handles.Network, 1)
}

// Effect is that of a loss of everything.
func (*Partition) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return lossEffect(ctx, on, 1)
}
