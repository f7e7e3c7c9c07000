package disk_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

func TestMain(m *testing.M) { hoststest.Main(m) }

// config is that of a component whose disk can be told what to do.
func config(t *testing.T) target.Config {
	hoststest.Range(t)
	dir := t.TempDir()
	c := target.Config{Name: "c", Dir: filepath.Join(dir, "seen"), Below: filepath.Join(dir, "below"), Socket: filepath.Join(dir, "s")}
	if err := errors.Join(os.Mkdir(c.Dir, 0o755), os.Mkdir(c.Below, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := disk.Behind(t.Context(), c, func(context.Context, target.Config) error { return nil }); err != nil {
		t.Skip(err)
	}
	return c
}

func TestPassesOn(t *testing.T) {
	c := config(t)
	for _, round := range []string{"first", "second"} { // what was written before a restart is there after it
		err := disk.Behind(t.Context(), c, func(_ context.Context, c target.Config) error {
			path, moved := filepath.Join(c.Dir, round), filepath.Join(c.Dir, round+"-moved")
			f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			_, one := f.WriteString("one ")
			_, two := f.WriteString("two")
			err = errors.Join(one, two, f.Sync(), os.Rename(path, moved), os.Remove(moved))
			text := make([]byte, 7) // of a file that has no name any more, as servers have many
			if _, readErr := f.ReadAt(text, 0); readErr != nil || string(text) != "one two" {
				t.Errorf("read %q (%v)", text, readErr)
			}
			l, listenErr := net.Listen("unix", filepath.Join(c.Dir, "sock"))
			if listenErr != nil {
				return listenErr
			}
			defer l.Close()
			conn, dialErr := net.Dial("unix", filepath.Join(c.Dir, "sock"))
			if dialErr != nil {
				return dialErr
			}
			conn.Close()
			return errors.Join(err, os.WriteFile(filepath.Join(c.Dir, "kept-"+round), []byte(round), 0o600))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, round := range []string{"first", "second"} {
		if text, err := os.ReadFile(filepath.Join(c.Below, "kept-"+round)); string(text) != round {
			t.Errorf("below is %q (%v)", text, err)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(c.Dir, "*")); len(names) != 0 {
		t.Errorf("after its end there is still %v", names)
	}
}

// TestProgramsDoNotInherit: a program that held the file system's own end would wait for itself when it is killed, and its range for ever.
func TestProgramsDoNotInherit(t *testing.T) {
	c := config(t)
	err := disk.Behind(t.Context(), c, func(ctx context.Context, c target.Config) error {
		ctx, cancel := context.WithCancel(ctx)
		return target.Program{Path: "sleep", Args: []string{"60"}, Started: func(pid int) {
			defer cancel()
			dir := filepath.Join("/proc", strconv.Itoa(pid))
			_ = target.WaitUntil(ctx, 5*time.Second, func() bool {
				name, _ := os.ReadFile(filepath.Join(dir, "comm"))
				return bytes.HasPrefix(name, []byte("sleep"))
			})
			files, err := os.ReadDir(filepath.Join(dir, "fd"))
			if err != nil || len(files) == 0 {
				t.Errorf("%d files of the program (%v)", len(files), err)
			}
			for _, f := range files {
				if to, _ := os.Readlink(filepath.Join(dir, "fd", f.Name())); strings.Contains(to, "fuse") {
					t.Errorf("descriptor %s of the program is %s", f.Name(), to)
				}
			}
		}}.Run(ctx)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAfterAKill mounts over what a process left that was killed: a file system that nobody answers for.
func TestAfterAKill(t *testing.T) {
	c := config(t)
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Mount("x", c.Dir, "fuse", 0, "fd="+strconv.Itoa(fd)+",rootmode=40000,user_id=0,group_id=0")
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadDir(c.Dir); !errors.Is(err, unix.ENOTCONN) {
		t.Fatalf("got %v, want a file system that is not connected", err)
	}
	err = disk.Behind(t.Context(), c, func(_ context.Context, c target.Config) error {
		return os.WriteFile(filepath.Join(c.Dir, "x"), nil, 0o600)
	})
	if err != nil {
		t.Error(err)
	}
}
