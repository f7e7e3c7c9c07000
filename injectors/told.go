package injectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/target"
)

// What a component of the bundled platform does wrong it is told (target.Told). These are the lives of all faults that work so.

// Untold refuses a component that another fault has told something already.
func Untold[T comparable](ctx context.Context, on target.Component, kind string) error {
	now, err := target.HasBeenTold[T](ctx, on, kind)
	var nothing T
	if err == nil && now != nothing {
		err = errors.New("another fault has told it something already")
	}
	return err
}

// SaveTold reads what a component has been told.
func SaveTold[T comparable](ctx context.Context, on target.Component, kind string) (Original, error) {
	was, err := target.HasBeenTold[T](ctx, on, kind)
	if err != nil {
		return nil, err
	}
	return Keep(was)
}

// Tell gives an order. One that failed may have arrived all the same: it is taken back.
func Tell[T comparable](ctx context.Context, on target.Component, kind string, order T) error {
	err := target.Tell(ctx, on, kind, order)
	if err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		var nothing T
		err = errors.Join(err, target.Tell(back, on, kind, nothing))
	}
	return err
}

// RestoreTold tells a component what it had been told before, and asks it for that.
func RestoreTold[T comparable](ctx context.Context, on target.Component, kind string, was Original) error {
	var before T
	if err := was.Read(&before); err != nil {
		return err
	}
	if err := target.TellLater(ctx, on, kind, before); err != nil {
		return err
	}
	now, err := target.HasBeenTold[T](ctx, on, kind)
	if err != nil { // it is down, and reads what it has been told when it comes up: the effect tells
		return nil //nolint:nilerr
	}
	if now != before {
		return fmt.Errorf("it has been told %+v, was told %+v before", now, before)
	}
	return nil
}
