package disk_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

func TestMain(m *testing.M) { hoststest.Main(m) }

// start starts a disk; it is told to be slow or fail by way of on.
func start(t *testing.T) (c target.Config, p *hosts.Process, on target.Component) {
	t.Helper()
	r := hoststest.Range(t)
	dir := t.TempDir()
	c = target.Config{Name: "d", Dir: filepath.Join(dir, "seen"), Below: filepath.Join(dir, "below"), Socket: filepath.Join(dir, "s")}
	if err := os.Mkdir(c.Below, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := disk.Start(t.Context(), r.Own(), c, filepath.Join(dir, "log"))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { p.Stop(time.Second) })
	return c, p, disk.Of(target.Component{Name: "c", Handles: target.Handles{Drive: &target.Drive{Dir: c.Dir, Socket: c.Socket}}})
}

// TestPassesOn does what servers do with their files.
func TestPassesOn(t *testing.T) {
	c, p, _ := start(t)
	path, moved := filepath.Join(c.Dir, "a"), filepath.Join(c.Dir, "b")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, one := f.WriteString("one ")
	_, two := f.WriteString("two")
	if err := errors.Join(one, two, f.Sync(), os.Rename(path, moved), os.Remove(moved)); err != nil {
		t.Error(err)
	}
	text := make([]byte, 7) // of a file that has no name any more
	if _, err := f.ReadAt(text, 0); err != nil || string(text) != "one two" {
		t.Errorf("read %q (%v)", text, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("unix", filepath.Join(c.Dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", filepath.Join(c.Dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	l.Close()
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(c.Below, "a")); string(text) != "kept" {
		t.Errorf("below is %q (%v)", text, err)
	}
	p.Stop(time.Second)
	if names, err := os.ReadDir(c.Dir); err != nil || len(names) != 0 {
		t.Errorf("after its end there is still %v (%v)", names, err)
	}
}

// TestAKilledDiskLetsGo: whoever waits for a slow disk is let go when the disk is killed; else no range with one could end.
func TestAKilledDiskLetsGo(t *testing.T) {
	c, p, on := start(t)
	path := filepath.Join(c.Dir, "a")
	if err := errors.Join(os.WriteFile(path, []byte("x"), 0o600), target.Tell(t.Context(), on, disk.Kind, target.Disk{Slow: time.Minute})); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- target.Program{Path: "dd", Args: []string{"if=/dev/zero", "of=" + path, "bs=1", "count=1", "conv=notrunc"}}.Run(context.WithoutCancel(t.Context()))
	}()
	select {
	case err := <-done:
		t.Fatalf("a disk that is slow by a minute has answered (%v)", err)
	case <-time.After(300 * time.Millisecond):
	}
	p.Stop(0)
	defer unix.Unmount(c.Dir, unix.MNT_DETACH) //nolint:errcheck // the directory cannot be removed then, and the test fails
	select {
	case err := <-done:
		if err == nil {
			t.Error("a write to a disk that is gone was good")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it waits for a disk that is gone")
	}
}
