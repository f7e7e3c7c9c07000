// Package disk puts a file system of livedrill's own (FUSE) between a component and its disk. It passes everything on, and does to each
// read, write and sync what it has been told: a disk in memory, for which the kernel has no brake, can so be slow or fail.
package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// Kind is what a component's disk calls itself where it takes orders, and as a part of the platform.
const Kind = "disk"

// Of is a component's disk, as something that can be told what to do.
func Of(c target.Component) target.Component {
	if c.Handles.Drive == nil {
		return target.Component{Name: c.Name}
	}
	return target.Component{Name: c.Name + "'s disk", Kind: Kind, Socket: c.Handles.Drive.Socket}
}

// Start starts the disk of a component, and returns when it is there: its files are in the directory c.Dir, and what they are made of is in
// c.Below. It is a process of the range's own: a component that waits for its disk can be killed only while another process holds the disk's
// other end, and a disk that is broken stays so when the component is started again.
func Start(ctx context.Context, own *hosts.Host, c target.Config, log string) (*hosts.Process, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	file := c.Socket + ".json"
	if err := errors.Join(os.MkdirAll(c.Dir, 0o755), os.WriteFile(file, text, 0o600)); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p, err := own.Start(hosts.Command{Name: c.Name, Path: "/proc/self/exe", Args: []string{"serve", Kind, "--config", file}, Log: log})
	if err != nil {
		return nil, err
	}
	there := target.Component{Name: c.Name, Kind: Kind, Socket: c.Socket}
	if err := target.WaitUntil(ctx, 10*time.Second, func() bool { return p.Failed() != nil || there.Healthy(ctx) == nil }); err == nil && p.Failed() == nil {
		return p, nil
	}
	p.Stop(0)
	words, _ := os.ReadFile(log) // nothing: it had nothing to say
	return nil, fmt.Errorf("%s: %s (a disk that can be slow or fail needs FUSE: /dev/fuse, and a kernel that lets a range mount it)", c.Name, bytes.TrimSpace(words))
}

// Serve is the disk until ctx ends. It must touch nothing in its own directory: who waits for himself cannot even be killed.
func Serve(ctx context.Context, c target.Config) error {
	d := &drive{over: ctx}
	if err := d.mount(c); err != nil {
		return err
	}
	mux := http.NewServeMux()
	if err := d.told.Handle(mux, c.Socket); err != nil {
		return err
	}
	err := record.NewMetrics().Serve(ctx, c.Socket, mux, func(context.Context) error { return nil })
	return errors.Join(err, unix.Unmount(c.Dir, unix.MNT_DETACH)) // whoever still has a file open there
}

// drive is one disk.
type drive struct {
	over context.Context // the disk's own end
	told target.Told[target.Disk]

	reads, writes atomic.Uint64 // so far; syncs are writes
}

// most is how many bytes are read or written at once.
const most = 1 << 19

// mount shows the files of another directory in the component's.
func (d *drive) mount(c target.Config) error {
	var its syscall.Stat_t
	if err := syscall.Stat(c.Below, &its); err != nil {
		return err
	}
	// Whoever holds this end keeps every access waiting: no program may inherit it, as go-fuse's own way to mount would let it.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/fuse: %w", err)
	}
	if err := unix.Mount("livedrill", c.Dir, "fuse.livedrill", unix.MS_NOSUID|unix.MS_NODEV,
		fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other,max_read=%d", fd, os.Geteuid(), os.Getegid(), most)); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	below := &fs.LoopbackRoot{Path: c.Below, Dev: its.Dev}
	root := d.node(below)
	below.RootNode = root
	// Nobody else changes what is below, so the kernel may remember it.
	remember := time.Second
	_, err = fs.Mount(fmt.Sprintf("/dev/fd/%d", fd), root, &fs.Options{AttrTimeout: &remember, EntryTimeout: &remember,
		MountOptions: fuse.MountOptions{MaxWrite: most, DisableXAttrs: true}})
	if err != nil {
		err = errors.Join(err, unix.Unmount(c.Dir, unix.MNT_DETACH))
	}
	return err
}

func (d *drive) node(below *fs.LoopbackRoot) *node {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: below}, drive: d}
}

// node is a file or directory.
type node struct {
	fs.LoopbackNode
	drive *drive
}

// WrapChild makes what is in a directory a part of the drive, too.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	if below, ok := child.(*fs.LoopbackNode); ok {
		return n.drive.node(below.RootData)
	}
	return child
}

// Open opens a file. Not every file system below knows O_DIRECT; what it is for is between the component and the kernel.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return n.drive.behind(n.LoopbackNode.Open(ctx, flags&^unix.O_DIRECT))
}

// Create makes a file and opens it.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, opened, kernel, errno := n.LoopbackNode.Create(ctx, name, flags&^unix.O_DIRECT, mode, out)
	opened, kernel, errno = n.drive.behind(opened, kernel, errno)
	return child, opened, kernel, errno
}

// Tmpfile makes a file without a name and opens it.
func (n *node) Tmpfile(ctx context.Context, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, opened, kernel, errno := n.LoopbackNode.Tmpfile(ctx, flags&^unix.O_DIRECT, mode, out)
	opened, kernel, errno = n.drive.behind(opened, kernel, errno)
	return child, opened, kernel, errno
}

func (d *drive) behind(opened fs.FileHandle, kernel uint32, errno syscall.Errno) (fs.FileHandle, uint32, syscall.Errno) {
	if below, ok := opened.(*fs.LoopbackFile); ok {
		opened = &file{below, d}
	}
	return opened, kernel, errno
}

// file is an open file.
type file struct {
	*fs.LoopbackFile
	drive *drive
}

// PassthroughFd gives the kernel nothing by which it could do without the drive.
func (*file) PassthroughFd() (int, bool) { return 0, false }

// Allocate passes a write on that has no bytes yet.
func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if told := f.drive.wait(); hit(&f.drive.writes, told.Writes) {
		return syscall.EIO
	}
	return f.LoopbackFile.Allocate(ctx, off, size, mode)
}

// Read passes a read on.
func (f *file) Read(ctx context.Context, into []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if told := f.drive.wait(); hit(&f.drive.reads, told.Reads) {
		return nil, syscall.EIO
	}
	return f.LoopbackFile.Read(ctx, into, off)
}

// Write passes a write on.
func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if told := f.drive.wait(); hit(&f.drive.writes, told.Writes) {
		return 0, syscall.EIO
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

// Fsync passes a sync on.
func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if told := f.drive.wait(); hit(&f.drive.writes, told.Writes) {
		return syscall.EIO
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}

// wait is as slow as was told, and says what was.
func (d *drive) wait() target.Disk {
	told := d.told.Now()
	if told.Slow > 0 {
		target.Wait(d.over, told.Slow)
	}
	return told
}

// hit spreads a share evenly over accesses, of which it counts one more.
func hit(count *atomic.Uint64, share float64) bool {
	return target.Evenly(count.Add(1)-1, share)
}
