// Package process breaks the processes of a component: killed, stopped, started again and again, out of descriptors.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
)

var errNoHost = errors.New("it has no host whose processes could be found")

// proc is one process of a host. Its start time tells it from a later one with the same number.
type proc struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after the machine's start, proc(5)
}

// own is the network namespace that this process began in; later its threads may be elsewhere.
var own = func() (s unix.Stat_t) {
	_ = unix.Stat("/proc/self/ns/net", &s) // without /proc nothing is found at all
	return s
}()

// find lists the processes of a component: those in its host's network namespace. It refuses the namespace of this process
// itself: whoever has no host of its own is nobody's target.
func find(on target.Component) ([]proc, error) { return (&watch{on: on}).find() }

// PIDs are the processes of a component, by number.
func PIDs(on target.Component) (pids []int, err error) {
	list, err := find(on)
	for _, p := range list {
		pids = append(pids, p.PID)
	}
	return pids, err
}

// watch finds a component's processes again and again, hundreds of times a second if need be: of all others it looks only at those that are
// new, and might yet come to the component's host.
type watch struct {
	on     target.Component
	host   unix.Stat_t    // its network namespace
	others map[string]int // by number: how many times a process was seen that is none of the component's
	born   map[proc]bool  // those of the component's that have become what they are to be
}

// newcomer is how many times a process is looked at before it is taken for one of somebody else's.
const newcomer = 50

func (w *watch) find() ([]proc, error) {
	if w.on.Handles.Network == nil {
		return nil, errNoHost
	}
	if err := unix.Stat(w.on.Handles.Network.Namespace, &w.host); err != nil {
		return nil, err
	}
	if w.host.Ino == own.Ino && w.host.Dev == own.Dev {
		return nil, errNoHost
	}
	all, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	names, err := all.Readdirnames(-1)
	all.Close()
	if err != nil {
		return nil, err
	}
	var out []proc
	others, born := make(map[string]int, len(names)), map[proc]bool{}
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		if n := w.others[name]; n >= newcomer {
			others[name] = n
			continue
		}
		pid, err := strconv.Atoi(name)
		if err != nil || !isOn(pid, w.host) {
			others[name] = w.others[name] + 1 // it has ended, or is none of the host's
			continue
		}
		its, ok := StatOf(pid)
		p := proc{pid, its.Start}
		switch {
		case !ok || its.State == 'Z' || pid == os.Getpid():
		case w.born[p] || !unborn(pid, its.Parent, w.host):
			born[p] = true
			out = append(out, p)
		}
	}
	w.others, w.born = others, born
	return out, nil
}

// inside tells whether a process was started on the component's host, by another that is there.
func (w *watch) inside(p proc) bool {
	its, ok := StatOf(p.PID)
	return ok && isOn(its.Parent, w.host)
}

// isOn tells whether a process is on a host.
func isOn(pid int, host unix.Stat_t) bool {
	var its unix.Stat_t
	return unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &its) == nil && its.Ino == host.Ino && its.Dev == host.Dev
}

// unborn tells whether a process of a host has not yet become the program that its parent, outside, starts: it still has the parent's command
// line. The parent waits for that, and would wait for ever for one that is stopped.
func unborn(pid, parent int, host unix.Stat_t) bool {
	line := func(pid int) string {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // one that has ended has none
		return string(line)
	}
	its := line(pid)
	return its != "" && its == line(parent) && !isOn(parent, host)
}

// Stat is what the kernel says of a process, proc(5), /proc/PID/stat.
type Stat struct {
	Start  uint64 // clock ticks after the machine's start
	State  byte   // T: stopped by a signal; Z: it has ended
	Parent int
	CPU    float64 // seconds of processors that it has used
}

// hertz are the clock ticks of a second as /proc shows them (USER_HZ): on every Linux of ours.
const hertz = 100

// StatOf reads it; ok is false when there is no such process.
func StatOf(pid int) (s Stat, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, false
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // from the 3rd field on
	if len(f) < 20 {
		return Stat{}, false
	}
	s.State = f[0][0]
	var errs [4]error
	var user, system uint64
	s.Parent, errs[0] = strconv.Atoi(f[1])
	user, errs[1] = strconv.ParseUint(f[11], 10, 64)
	system, errs[2] = strconv.ParseUint(f[12], 10, 64)
	s.Start, errs[3] = strconv.ParseUint(f[19], 10, 64)
	s.CPU = float64(user+system) / hertz
	return s, errors.Join(errs[:]...) == nil
}

// Stopped tells whether the kernel has a process as stopped by a signal.
func Stopped(pid int) bool {
	s, ok := StatOf(pid)
	return ok && s.State == 'T'
}

// alive tells whether it is still the same process.
func (p proc) alive() bool {
	its, ok := StatOf(p.PID)
	return ok && its.Start == p.Start && its.State != 'Z'
}

// signal sends a signal to a process that is still the same; one that has ended is no error.
func (p proc) signal(s syscall.Signal) error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %d to process %d: %w", s, p.PID, err)
	}
	return nil
}

func signalAll(list []proc, s syscall.Signal) error {
	var errs []error
	for _, p := range list {
		errs = append(errs, p.signal(s))
	}
	return errors.Join(errs...)
}
