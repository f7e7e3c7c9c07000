package resource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
)

// onDrive is what faults of a disk that can be told what to do have in common.
type onDrive struct{}

// BackEnd is part of injectors.BackEnded.
func (onDrive) BackEnd() string { return "fuse" }

// Check is part of injectors.Fault.
func (onDrive) Check(ctx context.Context, on target.Component) error {
	if on.Handles.Drive == "" {
		return errors.New("its disk can be neither slow nor fail: name the component in target.drives before it is brought up")
	}
	return injectors.Untold[target.Disk](ctx, disk.Of(on), disk.Kind)
}

// Save is part of injectors.Fault.
func (onDrive) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Disk](ctx, disk.Of(on), disk.Kind)
}

// Restore is part of injectors.Fault.
func (onDrive) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return injectors.RestoreTold[target.Disk](ctx, disk.Of(on), disk.Kind, was)
}

// block is what is read and written at once: a page.
const block = 4096

// prober reads and writes beside the component's data, past the kernel's cache.
type prober struct {
	file *os.File
	data []byte
}

func probeDisk(on target.Component) (*prober, error) {
	path := filepath.Join(on.Handles.Disk, ".livedrill-probe")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_DIRECT, 0o600)
	if err != nil {
		return nil, err
	}
	// O_DIRECT wants memory that begins with a page (open(2)).
	data, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		err = f.Truncate(block)
	}
	p := &prober{f, data}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *prober) read() error {
	_, err := p.file.ReadAt(p.data, 0)
	return err
}

func (p *prober) write() error {
	_, err := p.file.WriteAt(p.data, 0)
	return err
}

// timed tells how long something took that may not fail.
func timed(do func() error) (time.Duration, error) {
	start := time.Now()
	err := do()
	return time.Since(start), err
}

// failed counts how many of n accesses fail as those of a broken disk do.
func failed(ctx context.Context, n int, do func() error) (int, error) {
	count := 0
	for range n {
		switch err := do(); {
		case errors.Is(err, unix.EIO):
			count++
		case err != nil:
			return 0, fmt.Errorf("probe of the disk: %w", err)
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
	}
	return count, nil
}

func (p *prober) close() {
	_ = p.file.Close() // what was written is of no use
	_ = os.Remove(p.file.Name())
	if p.data != nil {
		_ = unix.Munmap(p.data)
	}
}
