package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Fork has the server make snapshots without end while much of what it holds is written anew: as long as the forked process lives, the kernel
// keeps every page that was written twice (copy on write), and each fork holds the server up.
type Fork struct {
	Ballast int `json:"ballast" unit:"MiB" help:"memory that is written anew, and so needed twice"`

	before float64 // forks of the server before it
}

const (
	pageKey  = "livedrill:page:"
	pageSize = 4096
	perMega  = (1 << 20) / pageSize
	pageLife = 10 * time.Minute // if nobody is left to delete them

	// forkFor is how long a snapshot takes over the ballast: the server waits after each key of it.
	forkFor = time.Second
)

var forkSettings = []string{"rdb-key-save-delay"}

// Validate finds settings that cannot work.
func (f *Fork) Validate() error {
	if f.Ballast < 2 || f.Ballast > 128 {
		return fmt.Errorf("ballast: %d MiB is not between 2 and 128", f.Ballast)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Fork) BackEnd() string { return "BGSAVE" }

func (*Fork) name(on target.Component) string { return "redis forks " + on.Handles.Redis.Addr }

// Check is part of injectors.Fault. What the ballast would push out could not be put back, nor a snapshot that is there already.
func (f *Fork) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := c.Exists(ctx, pageKey+"0").Result()
	if err == nil && n > 0 {
		err = errors.New("another fault has its ballast in it already")
	}
	if err == nil {
		err = noSnapshot(ctx, c)
	}
	if err != nil {
		return err
	}
	limit, err := info(ctx, c, "memory", "maxmemory")
	if err != nil {
		return err
	}
	used, err := memory(ctx, c)
	if room := limit - float64(used); err == nil && limit > 0 && room < 1.5*float64(f.Ballast)*(1<<20) {
		err = fmt.Errorf("ballast: there is room for %.0f MiB below its limit, and half as much again as %d is needed", room/(1<<20), f.Ballast)
	}
	return err
}

// Save is part of injectors.Fault.
func (*Fork) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	c, err := Dial(on)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var was unsaved
	if was.Path, err = snapshotFile(ctx, c); err != nil {
		return nil, err
	}
	if was.Settings, err = saveSettings(ctx, on, forkSettings...); err != nil {
		return nil, err
	}
	return injectors.Keep(was)
}

// Inject is part of injectors.Fault. It returns when a first fork has cost what was asked for.
func (f *Fork) Inject(ctx context.Context, on target.Component) error {
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	c, err := Dial(on)
	if err != nil {
		return err
	}
	begun := false
	if f.before, err = info(ctx, c, "stats", "total_forks"); err == nil {
		err = f.write(ctx, c)
	}
	if err == nil {
		each := forkFor.Microseconds() / int64(f.Ballast*perMega)
		err = c.ConfigSet(ctx, forkSettings[0], strconv.FormatInt(max(each, 1), 10)).Err()
	}
	if err == nil {
		err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
			defer c.Close()
			for ctx.Err() == nil {
				_, _ = c.BgSave(ctx).Err(), f.write(ctx, c) // one that goes on refuses another; the effect tells
				target.Wait(ctx, 100*time.Millisecond)
			}
		})
	}
	if begun = err == nil; begun {
		err = target.WaitUntil(ctx, 5*time.Second, func() bool {
			m, err := f.Effect(ctx, on)
			return err == nil && m.Bites
		})
	}
	if err != nil {
		err = errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, was))
		if !begun {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// write puts every page of the ballast there, or anew.
func (f *Fork) write(ctx context.Context, c *redis.Client) error {
	page := make([]byte, pageSize)
	for i := range f.Ballast {
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for j := range perMega {
				p.Set(ctx, pageKey+strconv.Itoa(i*perMega+j), page, pageLife)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ballast: %w", err)
		}
	}
	return nil
}

// Effect reads what the kernel has kept twice for the newest fork of this fault, by the forked process' own look at its pages. It bites at half of
// the ballast, and is clean when nothing forks and the ballast is gone.
func (f *Fork) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	c, err := Dial(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer c.Close()
	var now, last, forking, took, forks float64
	for field, into := range map[string]*float64{"current_cow_size": &now, "rdb_last_cow_size": &last, "rdb_bgsave_in_progress": &forking} {
		if *into, err = info(ctx, c, "persistence", field); err != nil {
			return injectors.Measured{}, err
		}
	}
	for field, into := range map[string]*float64{"latest_fork_usec": &took, "total_forks": &forks} {
		if *into, err = info(ctx, c, "stats", field); err != nil {
			return injectors.Measured{}, err
		}
	}
	left, err := c.Exists(ctx, pageKey+"0").Result()
	asked, twice := float64(f.Ballast)*(1<<20), forking*now
	if left > 0 && forks-forking > f.before { // one of ours has ended
		twice = max(twice, last)
	}
	return injectors.Measured{N: 1, Asked: map[string]float64{"copied_bytes": asked}, Is: map[string]float64{"copied_bytes": twice, "fork_seconds": took / 1e6},
		Bites: left > 0 && twice >= asked/2, Clean: left == 0 && forking == 0,
		Reason: fmt.Sprintf("%.1f MiB were kept twice for the newest fork", twice/(1<<20))}, err
}

// Restore is part of injectors.Fault.
func (f *Fork) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	injectors.End(f.name(on))
	var before unsaved
	if err := was.Read(&before); err != nil {
		return err
	}
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := putSettings(ctx, c, before.Settings, forkSettings...); err != nil {
		return err
	}
	if err := drop(ctx, c, pageKey); err != nil {
		return fmt.Errorf("ballast: %w", err)
	}
	if err := quiet(ctx, c); err != nil {
		return err
	}
	if err := os.Remove(before.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return checkSettings(ctx, c, before.Settings)
}

// quiet waits until no snapshot is being made: one that has begun takes its time.
func quiet(ctx context.Context, c *redis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*forkFor+3*time.Second)
	defer cancel()
	for {
		text, err := c.Info(ctx, "persistence").Result()
		if err != nil || strings.Contains(text, "rdb_bgsave_in_progress:0") {
			return err
		}
		if !target.Wait(ctx, retry) {
			return fmt.Errorf("its snapshot does not end: %w", ctx.Err())
		}
	}
}
