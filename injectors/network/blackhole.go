package network

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Blackhole is a dead edge in one of the four ways in which edges die: its packets vanish, its connections are reset, its
// processes are killed, or it is so slow that nobody waits. To those who use it they are four different things.
type Blackhole struct {
	How       string    `json:"how" help:"blackholed, reset, killed or slow"`
	Direction Direction `json:"direction" help:"both, to (the component) or from; with reset or killed both alone"`
}

// ways are the faults that make an edge dead.
func (f *Blackhole) way() injectors.Fault {
	switch f.How {
	case "reset":
		return &Reset{Share: 1}
	case "killed":
		return &process.Kill{}
	case "slow":
		return &Rate{To: unit.Bitrate(narrowest), Direction: f.Direction}
	}
	return &Partition{Direction: f.Direction}
}

// Validate finds settings that cannot work.
func (f *Blackhole) Validate() error {
	if !slices.Contains([]string{"blackholed", "reset", "killed", "slow"}, f.How) {
		return fmt.Errorf("how: %q is not blackholed, reset, killed or slow", f.How)
	}
	if (f.How == "reset" || f.How == "killed") && f.Direction != Both {
		return fmt.Errorf("direction: a host that is %s has but one: both", f.How)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (f *Blackhole) BackEnd() string { return injectors.BackEnd(f.way()) }

// Check is part of injectors.Fault.
func (f *Blackhole) Check(ctx context.Context, on target.Component) error {
	if f.How == "killed" && on.Kind == target.KindViewers {
		return errors.New("viewers are not killed: their processes are the load's")
	}
	return f.way().Check(ctx, on)
}

// Save is part of injectors.Fault.
func (f *Blackhole) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return f.way().Save(ctx, on)
}

// Inject is part of injectors.Fault.
func (f *Blackhole) Inject(ctx context.Context, on target.Component) error {
	return f.way().Inject(ctx, on)
}

// Effect is that of the fault which makes the edge dead.
func (f *Blackhole) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return f.way().Effect(ctx, on)
}

// Restore is part of injectors.Fault.
func (f *Blackhole) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return f.way().Restore(ctx, on, was)
}
