package hosts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
)

// Command is a program to be run on a host.
type Command struct {
	Name string // of the process, and of its log
	Path string
	Args []string
	Log  string // file for its standard output and error
}

// Process is a program that runs on a host.
type Process struct {
	Name string
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	err  error
	end  bool // it was told to stop
}

// ours are the children that somebody waits for; Reap leaves them alone.
var ours sync.Map

// Start runs a program on the host, in its network namespace and cgroup.
func (h *Host) Start(c Command) (*Process, error) {
	if !safeName(c.Name) {
		return nil, fmt.Errorf("%q is no name for a process", c.Name)
	}
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer log.Close()
	p := &Process{Name: c.Name, cmd: exec.Command(c.Path, c.Args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := h.Do(func() error {
		starting.RLock()
		defer starting.RUnlock()
		if err := p.cmd.Start(); err != nil {
			return err
		}
		ours.Store(p.cmd.Process.Pid, true)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	if err := AddToCgroup(h.Cgroup, p.cmd.Process.Pid); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.Name, err), p.cmd.Process.Kill())
	}
	go func() {
		err := p.cmd.Wait()
		ours.Delete(p.cmd.Process.Pid)
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Failed tells how the process ended if nobody asked it to, and nil while it runs.
func (p *Process) Failed() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %s", p.Name, p.cmd.ProcessState)
}

// Stop asks the process to end and kills it after the grace time.
func (p *Process) Stop(grace time.Duration) {
	p.mu.Lock()
	p.end = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// starting keeps Reap from taking a child between its start and its entry in ours.
var starting sync.RWMutex

// stranger is the orphan that was seen at the last call of Reap.
var stranger int

// Reap takes the orphans that the kernel gives to the first process of a range, so that none stays a zombie. One is taken only if it was
// there at the call before: a child that somebody else waits for is gone by then.
func Reap() {
	starting.Lock()
	defer starting.Unlock()
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
			return
		}
		pid := childOf(&info)
		if pid == 0 {
			return
		}
		if _, mine := ours.Load(pid); mine {
			return // its own waiter is on the way
		}
		if pid != stranger {
			stranger = pid
			return
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			return
		}
	}
}

// childOf reads the process number out of what waitid returned (siginfo_t of a 64-bit machine).
func childOf(info *unix.Siginfo) int {
	if info.Signo == 0 {
		return 0
	}
	return int((*struct {
		signo, errno, code, _ int32
		pid                   int32
	})(unsafe.Pointer(info)).pid)
}

// Running lists the processes with exactly that command line: of a group or, if it is none, of all that this process can see.
func Running(g target.Cgroup, program string, args ...string) (pids []int, err error) {
	want := strings.Join(append([]string{program}, args...), "\x00") + "\x00"
	var numbers []string
	if g.Version > 0 {
		text, err := os.ReadFile(filepath.Join(g.CPU, "cgroup.procs"))
		if err != nil {
			return nil, err
		}
		numbers = strings.Fields(string(text))
	} else {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			numbers = append(numbers, e.Name())
		}
	}
	for _, number := range numbers {
		pid, err := strconv.Atoi(number)
		if err != nil {
			continue // it is no process
		}
		if line, err := os.ReadFile("/proc/" + number + "/cmdline"); err == nil && string(line) == want { // one that has ended has none
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// AddToCgroup moves a process into a group; a zero group takes nobody in.
func AddToCgroup(g target.Cgroup, pid int) error {
	for _, dir := range directories(g) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", pid), 0); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}
