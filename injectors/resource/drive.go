package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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
	if on.Handles.Drive == nil {
		return errors.New("its disk can be neither slow nor fail: it takes target.drives, or target up --drives, before it is brought up")
	}
	if _, err := exec.LookPath("dd"); err != nil {
		return errors.New("dd is missing on this machine (apt-get install coreutils)")
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

// probe is a program's access to a page beside the component's data, past the kernel's cache: another process can be left to wait.
type probe []string

func file(on target.Component) string { return filepath.Join(on.Handles.Drive.Dir, ".livedrill-probe") }

func writes(on target.Component) probe {
	return probe{"if=/dev/zero", "of=" + file(on), "bs=4096", "count=1", "oflag=direct", "conv=notrunc"}
}

func reads(on target.Component) probe {
	return probe{"if=" + file(on), "of=/dev/null", "bs=4096", "count=1", "iflag=direct"}
}

// took is the end of what dd says (coreutils, dd invocation).
var took = regexp.MustCompile(`, ([0-9.e+-]+) s, `)

// access does it once, and tells how long it took, or that the disk failed (unix.EIO).
func (p probe) access(ctx context.Context) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "dd", p...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	words, err := cmd.CombinedOutput()
	switch {
	case err != nil && ctx.Err() == nil && bytes.Contains(words, []byte("Input/output error")):
		return 0, unix.EIO
	case err != nil:
		return 0, fmt.Errorf("probe of the disk: %w: %s", errors.Join(err, ctx.Err()), bytes.TrimSpace(words))
	}
	found := took.FindSubmatch(words)
	if found == nil {
		return 0, fmt.Errorf("probe of the disk: dd says %q", words)
	}
	seconds, err := strconv.ParseFloat(string(found[1]), 64)
	return time.Duration(seconds * float64(time.Second)), err
}

// prepared makes the page that is read, without writing it, and takes it away in the end.
func prepared(ctx context.Context, on target.Component, do func() error) error {
	if words, err := exec.CommandContext(ctx, "truncate", "-s", "4096", file(on)).CombinedOutput(); err != nil {
		return fmt.Errorf("probe of the disk: %w: %s", err, bytes.TrimSpace(words))
	}
	err := do()
	remove := exec.CommandContext(context.WithoutCancel(ctx), "rm", "-f", file(on))
	return errors.Join(err, remove.Run())
}
