package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Snapshot lets Redis' snapshots fail: the server forks, cannot put the file where it belongs, and takes no write any more (MISCONF) until
// one succeeds. A directory stands in the file's place.
type Snapshot struct{}

// snapshotSettings are what is changed in the server: without a schedule a failed snapshot would not matter to it.
var snapshotSettings = []string{"save", "stop-writes-on-bgsave-error"}

// Validate finds settings that cannot work; there are none.
func (*Snapshot) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*Snapshot) BackEnd() string { return "BGSAVE" }

// snapshotFile is where the server puts its snapshots.
func snapshotFile(ctx context.Context, c *redis.Client) (string, error) {
	dir, err := setting(ctx, c, "dir")
	if err != nil {
		return "", err
	}
	name, err := setting(ctx, c, "dbfilename")
	return filepath.Join(dir, name), err
}

// Check is part of injectors.Fault. A snapshot that is there already is somebody's data, and is left alone.
func (*Snapshot) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	return noSnapshot(ctx, c)
}

// noSnapshot refuses a server that has one, or one whose directory is not here.
func noSnapshot(ctx context.Context, c *redis.Client) error {
	path, err := snapshotFile(ctx, c)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("its directory cannot be reached from here: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	return nil
}

// unsaved is what faults of snapshots find: the server's settings, and where its snapshots would go. A server that was started again meanwhile
// cannot be asked: it does not start on a directory.
type unsaved struct {
	Settings injectors.Original `json:"settings"`
	Path     string             `json:"path"`
}

// Save is part of injectors.Fault.
func (*Snapshot) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	c, err := Dial(on)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var was unsaved
	if was.Path, err = snapshotFile(ctx, c); err != nil {
		return nil, err
	}
	if was.Settings, err = saveSettings(ctx, on, snapshotSettings...); err != nil {
		return nil, err
	}
	return injectors.Keep(was)
}

// Inject is part of injectors.Fault.
func (f *Snapshot) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	path, err := snapshotFile(ctx, c)
	if err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err // whatever is there now is somebody's
	}
	if err = c.ConfigSet(ctx, "save", "3600 1").Err(); err == nil {
		err = c.ConfigSet(ctx, "stop-writes-on-bgsave-error", "yes").Err()
	}
	if err == nil {
		err = snapshot(ctx, c, "err")
	}
	if err != nil {
		return errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, was))
	}
	return nil
}

// snapshot has the server make one, until the newest has ended as it should.
func snapshot(ctx context.Context, c *redis.Client, want string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		text, err := c.Info(ctx, "persistence").Result()
		if err != nil {
			return err
		}
		if busy := strings.Contains(text, "rdb_bgsave_in_progress:1"); !busy {
			if strings.Contains(text, "rdb_last_bgsave_status:"+want) {
				return nil
			}
			if err := c.BgSave(ctx).Err(); err != nil && !strings.Contains(err.Error(), "in progress") {
				return err
			}
		}
		if !target.Wait(ctx, retry) {
			return fmt.Errorf("its snapshots do not end with %q: %w", want, ctx.Err())
		}
	}
}

// Effect writes as the platform does and counts what is refused with the server's own words.
func (*Snapshot) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	return refusedWrites(ctx, on, "MISCONF")
}

// Restore is part of injectors.Fault. One snapshot must succeed before the server takes writes again; where none was kept before, it is
// removed.
func (*Snapshot) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	var found unsaved
	var before map[string]string
	if err := errors.Join(was.Read(&found), found.Settings.Read(&before)); err != nil {
		return err
	}
	if at, err := os.Lstat(found.Path); err == nil && at.IsDir() {
		if err := os.Remove(found.Path); err != nil {
			return err
		}
	}
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := snapshot(ctx, c, "ok"); err != nil {
		return err
	}
	if err := putSettings(ctx, c, found.Settings, snapshotSettings...); err != nil {
		return err
	}
	if before["save"] == "" {
		if err := os.Remove(found.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return checkSettings(ctx, c, found.Settings)
}
