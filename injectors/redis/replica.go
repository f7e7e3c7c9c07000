package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Replica makes the server the replica of a master that is not there, as after a failover that went wrong: writes are refused (READONLY),
// and reads get values that grow old, or nothing (MASTERDOWN).
type Replica struct {
	Serve bool `json:"serve" help:"old values are given out; else reads are refused too"`
}

var replicaSettings = []string{"replica-read-only", "replica-serve-stale-data"}

// Validate finds settings that cannot work; there are none.
func (*Replica) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*Replica) BackEnd() string { return "REPLICAOF" }

// role is what the server says that it is: master or slave, in its own word.
func role(ctx context.Context, c *redis.Client) (string, error) {
	list, err := c.Do(ctx, "ROLE").Slice()
	if err != nil || len(list) == 0 {
		return "", errors.Join(err, errors.New("the server does not say what its role is"))
	}
	return fmt.Sprint(list[0]), nil
}

// Check is part of injectors.Fault: a server that is a replica already has a master that it would have to be given back to.
func (*Replica) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	is, err := role(ctx, c)
	if err == nil && is != "master" {
		err = errors.New("it is a replica already")
	}
	return err
}

// Save is part of injectors.Fault.
func (*Replica) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return saveSettings(ctx, on, replicaSettings...)
}

// Inject is part of injectors.Fault. Nobody listens on the port that the master is said to have.
func (f *Replica) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	serve := map[bool]string{true: "yes", false: "no"}[f.Serve]
	err = c.ConfigSet(ctx, "replica-read-only", "yes").Err()
	if err == nil {
		err = c.ConfigSet(ctx, "replica-serve-stale-data", serve).Err()
	}
	if err == nil {
		err = c.Do(ctx, "REPLICAOF", "127.0.0.1", "1").Err()
	}
	if err != nil {
		return errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, was))
	}
	return nil
}

// Effect writes as the platform does, or reads where reads are refused too, and counts what is refused with the server's own words.
func (f *Replica) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	if f.Serve {
		return refusedWrites(ctx, on, "READONLY")
	}
	return refusedReads(ctx, on, "MASTERDOWN")
}

// Restore is part of injectors.Fault. What is changed has stayed: a replica drops nothing before it has heard from its master.
func (*Replica) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		return err
	}
	if err := putSettings(ctx, c, was, replicaSettings...); err != nil {
		return err
	}
	is, err := role(ctx, c)
	if err == nil && is != "master" {
		err = fmt.Errorf("its role is %s", is)
	}
	return errors.Join(err, checkSettings(ctx, c, was))
}
