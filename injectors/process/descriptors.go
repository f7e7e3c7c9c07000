package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// Descriptors takes a component's spare file descriptors away: what it has open stays, and connections beyond that are not
// accepted any more (EMFILE).
type Descriptors struct {
	Spare int `json:"spare" unit:"descriptors" help:"how many more each process may open"`
}

// Validate finds settings that cannot work.
func (f *Descriptors) Validate() error {
	if f.Spare < 0 || f.Spare > 1000 {
		return fmt.Errorf("spare: %d is not between 0 and 1000", f.Spare)
	}
	return nil
}

// limited is a process and the limit that it had.
type limited struct {
	proc
	Soft, Hard uint64
}

// BackEnd is part of injectors.BackEnded.
func (*Descriptors) BackEnd() string { return "rlimit" }

// Check is part of injectors.Fault.
func (*Descriptors) Check(_ context.Context, on target.Component) error {
	list, err := find(on)
	if err == nil && len(list) == 0 {
		err = errors.New("it has no process")
	}
	if err == nil && len(on.Ports) == 0 {
		err = errors.New("it listens on no port")
	}
	return err
}

// Save is part of injectors.Fault: every process's limit.
func (*Descriptors) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	list, err := limits(on)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(list)
}

func limits(on target.Component) ([]limited, error) {
	list, err := find(on)
	if err != nil {
		return nil, err
	}
	var out []limited
	for _, p := range list {
		var r unix.Rlimit
		if err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, nil, &r); err != nil {
			if !p.alive() {
				continue
			}
			return nil, fmt.Errorf("limit of process %d: %w", p.PID, err)
		}
		out = append(out, limited{p, r.Cur, r.Max})
	}
	return out, nil
}

// Inject is part of injectors.Fault.
func (f *Descriptors) Inject(ctx context.Context, on target.Component) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	before, err := limits(on)
	if err != nil {
		return err
	}
	for _, p := range before {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID))
		if err == nil {
			// The limit is on the number of a descriptor, and numbers are given from the lowest free one on.
			err = unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open) + f.Spare), Max: p.Hard}, nil)
		}
		if err != nil && p.alive() {
			return errors.Join(fmt.Errorf("limit of process %d: %w", p.PID, err), giveBack(before))
		}
	}
	return nil
}

func giveBack(list []limited) error {
	var errs []error
	for _, p := range list {
		if !p.alive() { // it has ended: another one with its number is none of ours
			continue
		}
		var now unix.Rlimit
		err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: p.Soft, Max: p.Hard}, nil)
		if err == nil {
			err = unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, nil, &now)
		}
		if err == nil && now.Cur != p.Soft {
			err = fmt.Errorf("it is %d, was %d", now.Cur, p.Soft)
		}
		if err != nil && p.alive() {
			errs = append(errs, fmt.Errorf("limit of process %d: %w", p.PID, err))
		}
	}
	return errors.Join(errs...)
}

// Effect opens more connections than there are spare descriptors, and reads from the kernel how many of them nobody accepts.
func (f *Descriptors) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	n := f.Spare + 16
	conns, err := dial(ctx, on, n)
	defer closeAll(conns)
	if err != nil {
		return injectors.Measured{}, err
	}
	waiting := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); target.Wait(ctx, 100*time.Millisecond) {
		if waiting, err = backlog(on); err != nil || waiting == 0 {
			break
		}
	}
	return injectors.Measured{N: uint64(len(conns)), Asked: map[string]float64{"spare_descriptors": float64(f.Spare)},
		Is: map[string]float64{"connections": float64(len(conns)), "not_accepted": float64(waiting)}, Bites: waiting > 0, Clean: waiting == 0,
		Reason: fmt.Sprintf("of %d connections %d are not accepted", len(conns), waiting)}, err
}

// Restore is part of injectors.Fault. A process that was started meanwhile has its limit from one that was hit, and gets that one's
// old limit.
func (*Descriptors) Restore(_ context.Context, on target.Component, was injectors.Original) error {
	var before []limited
	if err := was.Read(&before); err != nil {
		return err
	}
	now, err := limits(on)
	if errors.Is(err, os.ErrNotExist) { // the range is gone, and they with it
		return nil
	}
	if err != nil {
		return err
	}
	var usual uint64
	for _, p := range before {
		usual = max(usual, p.Soft)
	}
	for _, p := range now {
		known := slices.ContainsFunc(before, func(b limited) bool { return b.proc == p.proc })
		if !known && p.Soft < usual {
			before = append(before, limited{p.proc, min(usual, p.Hard), p.Hard})
		}
	}
	return giveBack(before)
}

// address is that of the component's port of a protocol, or of its first one.
func address(on target.Component, protocol string) (string, error) {
	if protocol != "" {
		return on.HostPort(protocol)
	}
	var names []string
	for name := range on.Ports {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "", errors.New("it listens on no port")
	}
	return on.HostPort(slices.Min(names))
}

// dial opens n connections to a component over its link.
func dial(ctx context.Context, on target.Component, n int) (out []net.Conn, err error) {
	addr, err := address(on, "")
	if err != nil {
		return nil, err
	}
	err = hosts.InNamespace(on.Handles.Network.Bridge, func() error {
		for range n {
			conn, err := (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext(ctx, "tcp4", addr)
			if err != nil {
				return err
			}
			out = append(out, conn)
		}
		return nil
	})
	return out, err
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		_ = c.Close() // they were held for nothing
	}
}

// backlog is how many connections wait to be accepted, at all listeners together.
func backlog(on target.Component) (n int, err error) {
	err = hosts.InNamespace(on.Handles.Network.Namespace, func() error {
		return hosts.Sockets(func(s hosts.Socket) {
			if s.State == "0A" {
				n += int(s.Received)
			}
		})
	})
	return n, err
}
