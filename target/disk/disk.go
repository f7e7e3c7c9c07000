// Package disk puts a file system of livedrill's own (FUSE) between a component and its disk. It passes everything on, and does to each
// access what it has been told: a disk in memory, for which the kernel has no brake, can so be slow or fail.
package disk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// Kind is what a component's disk calls itself where it takes orders.
const Kind = "disk"

// Socket is where the disk of a component takes orders that has its own socket elsewhere.
func Socket(component string) string { return component + "-disk" }

// Of is a component's disk, as something that can be told what to do.
func Of(c target.Component) target.Component {
	return target.Component{Name: c.Name + "'s disk", Kind: Kind, Socket: c.Handles.Drive}
}

// Behind runs a component behind its disk: do begins when the disk is there, and the disk is there until do has ended.
func Behind(ctx context.Context, c target.Config, do func(context.Context, target.Config) error) error {
	if c.Below == "" {
		return do(ctx, c)
	}
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	d := &drive{over: over}
	if err := d.mount(c); err != nil {
		return fmt.Errorf("%s: its disk: %w (one that can be slow or fail needs FUSE: /dev/fuse, and a kernel that lets a range mount it)", c.Name, err)
	}
	mux := http.NewServeMux()
	d.told.Handle(mux)
	err := target.Together(ctx,
		func(ctx context.Context) error {
			defer end() // no access waits any longer
			return do(ctx, c)
		},
		func(context.Context) error { // what is slow stays so, and can be told so, to the component's last access
			return record.NewMetrics().Serve(over, Socket(c.Socket), mux, func(context.Context) error { return nil })
		})
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
	var at unix.Statfs_t
	if err := unix.Statfs(c.Dir, &at); errors.Is(err, unix.ENOTCONN) { // a process was killed that had one
		if err := unix.Unmount(c.Dir, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	var its syscall.Stat_t
	if err := syscall.Stat(c.Below, &its); err != nil {
		return err
	}
	// The file system's end in this process is closed when the process ends, and with it every access that still waits. go-fuse's own way to
	// mount lets programs inherit it: one that is killed then waits for itself.
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
		return errors.Join(err, unix.Unmount(c.Dir, unix.MNT_DETACH))
	}
	return polled(c.Dir)
}

// polled lets the kernel learn that files are not to be polled here. Go's runtime polls each that it opens, in a way that stops the process,
// which would have to answer.
func polled(dir string) error {
	path := filepath.Join(dir, ".livedrill-polled")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return errors.Join(err, unix.Close(fd), unix.Unlink(path))
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
	n := float64(count.Add(1))
	return math.Floor(n*share) > math.Floor((n-1)*share)
}
