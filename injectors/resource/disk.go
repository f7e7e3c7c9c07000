package resource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// DiskFull fills the file system that a component has its data on, and fills it again when something is freed.
type DiskFull struct {
	Spare int `json:"spare" unit:"KiB" help:"that stay free"`
}

const ballastFile = ".livedrill-ballast"

// Validate finds settings that cannot work.
func (f *DiskFull) Validate() error {
	if f.Spare < 0 || f.Spare > 1<<20 {
		return fmt.Errorf("spare: %d KiB is not between 0 and 1 GiB", f.Spare)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*DiskFull) BackEnd() string { return "fallocate" }

// Name is what the filling is called in the process that has begun it.
func (*DiskFull) Name(on target.Component) string { return "disk " + on.Handles.Disk }

// Check is part of injectors.Fault. A file system that others live on as well is not filled.
func (f *DiskFull) Check(_ context.Context, on target.Component) error {
	dir := on.Handles.Disk
	if dir == "" {
		return errors.New("it has no disk of its own")
	}
	var its, above unix.Stat_t
	if err := errors.Join(unix.Stat(dir, &its), unix.Stat(filepath.Dir(dir), &above)); err != nil {
		return err
	}
	if its.Dev == above.Dev {
		return fmt.Errorf("%s is on a file system that others have a part in", dir)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < int64(f.Spare)<<10+1<<20 {
		return fmt.Errorf("its disk has %d KiB free: there is nothing to fill", free>>10)
	}
	if _, err := os.Lstat(filepath.Join(dir, ballastFile)); err == nil {
		return errors.New("another fault has its ballast there already")
	}
	return nil
}

// Save is part of injectors.Fault: the ballast is ours alone.
func (*DiskFull) Save(context.Context, target.Component) (injectors.Original, error) {
	return injectors.Keep(struct{}{})
}

// Inject is part of injectors.Fault.
func (f *DiskFull) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(on.Handles.Disk, ballastFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = f.fill(file); err == nil {
		err = injectors.Begin(ctx, f.Name(on), func(ctx context.Context) {
			defer file.Close()
			for target.Wait(ctx, 50*time.Millisecond) {
				_ = f.fill(file) // the effect tells whether it is full
			}
		})
	}
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	return nil
}

// fill makes the ballast longer by what is free.
func (f *DiskFull) fill(file *os.File) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		return err
	}
	free := int64(fs.Bavail)*fs.Bsize - int64(f.Spare)<<10
	if free < fs.Bsize {
		return nil
	}
	at, err := file.Seek(0, 2)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(file.Fd()), 0, at, free)
	if errors.Is(err, unix.ENOSPC) { // somebody else was quicker
		return nil
	}
	return err
}

// Effect writes more than is spare beside the component's data, and is refused for want of space.
func (f *DiskFull) Effect(_ context.Context, on target.Component) (injectors.Measured, error) {
	path := filepath.Join(on.Handles.Disk, ".livedrill-probe")
	defer os.Remove(path)
	size := f.Spare<<10 + 64<<10
	err := os.WriteFile(path, make([]byte, size), 0o600)
	full := errors.Is(err, syscall.ENOSPC)
	m := injectors.Measured{N: 1, Asked: map[string]float64{"spare_bytes": float64(f.Spare << 10)}, Is: map[string]float64{"refused_writes": 0},
		Bites: full, Clean: err == nil, Reason: fmt.Sprintf("%d bytes can be written", size)}
	if full {
		m.Is["refused_writes"], m.Reason = 1, "a write is refused: no space left on device"
	} else if err != nil {
		return m, err
	}
	return m, nil
}

// Restore is part of injectors.Fault.
func (f *DiskFull) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.Name(on))
	if err := os.Remove(filepath.Join(on.Handles.Disk, ballastFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
