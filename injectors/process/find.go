// Package process breaks the processes of a component: killed, stopped, started again and again, out of descriptors.
package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
func find(on target.Component) ([]proc, error) {
	if on.Handles.Network == nil {
		return nil, errNoHost
	}
	var its unix.Stat_t
	if err := unix.Stat(on.Handles.Network.Namespace, &its); err != nil {
		return nil, err
	}
	if its.Ino == own.Ino && its.Dev == own.Dev {
		return nil, errNoHost
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var out []proc
	for _, dir := range dirs {
		var ns unix.Stat_t
		if unix.Stat(filepath.Join(dir, "ns", "net"), &ns) != nil || ns.Ino != its.Ino || ns.Dev != its.Dev {
			continue // it has ended, or is none of the host's
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && pid != os.Getpid() {
			if name, _ := os.ReadFile(filepath.Join(dir, "comm")); strings.HasPrefix(string(name), "iptables") || strings.HasPrefix(string(name), "xtables") {
				continue // ours, for a fault of the host's link
			}
			if start, state, ok := stat(pid); ok && state != 'Z' {
				out = append(out, proc{pid, start})
			}
		}
	}
	return out, nil
}

// stat reads when a process was started, and its state.
func stat(pid int) (start uint64, state byte, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	_, rest, found := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 {
		return 0, 0, false
	}
	start, err = strconv.ParseUint(fields[19], 10, 64) // the 22nd field; the state is the 3rd
	return start, fields[0][0], err == nil
}

// alive tells whether it is still the same process.
func (p proc) alive() bool {
	start, state, ok := stat(p.PID)
	return ok && start == p.Start && state != 'Z'
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
