// Package hosts makes the range that a run lives in: PID, network, mount and (without root) user namespaces of its own,
// with a bridge to which every host, a network namespace of its own, is joined. Nothing in a range can reach an address
// outside, and the kernel ends all of it when its first process dies.
package hosts

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Session is a range as the process outside sees it.
type Session struct {
	cmd  *exec.Cmd
	life *os.File
	mu   sync.Mutex
	gone chan struct{}
	err  error
}

// lifeFD is the descriptor on which the first process of a range reads its orders. When it reaches end of file, whoever
// made the range is gone, and the range ends itself.
const lifeFD = 3

// Enter starts this program again as the first process of a new range, running the hidden command args. orders is
// written to it as JSON. files become descriptors 4, 5, ... in it.
func Enter(args []string, orders any, stdout, stderr io.Writer, files ...*os.File) (*Session, error) {
	text, err := json.Marshal(orders)
	if err != nil {
		return nil, fmt.Errorf("range orders: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("range: %w", err)
	}
	defer read.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = append([]*os.File{read}, files...)
	cmd.SysProcAttr = namespaces()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(explain(err), write.Close())
	}
	s := &Session{cmd: cmd, life: write, gone: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.gone)
	}()
	if _, err := write.Write(append(text, '\n')); err != nil {
		return nil, errors.Join(fmt.Errorf("range orders: %w", err), s.Kill())
	}
	return s, nil
}

func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Unshareflags: syscall.CLONE_NEWNET, // later than the map of users: what the kernel shows of a network belongs to who made it
		Setsid:       true,                 // Ctrl-C on the terminal goes to the process outside, which asks the range to stop
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

func explain(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("range: the kernel refuses new namespaces: run as root, or allow user namespaces "+
			"(sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000): %w", err)
	}
	return fmt.Errorf("range: %w", err)
}

// Order sends one line to the first process.
func (s *Session) Order(line string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := io.WriteString(s.life, line+"\n")
	return err
}

// Done is closed when the first process has ended, and all of the range with it.
func (s *Session) Done() <-chan struct{} { return s.gone }

// ExitCode is the first process's exit code once Done is closed; -1 after a signal.
func (s *Session) ExitCode() int { return s.cmd.ProcessState.ExitCode() }

// Kill ends the range at once and waits until the kernel has taken it down.
func (s *Session) Kill() error {
	err := s.life.Close()
	if kill := s.cmd.Process.Kill(); kill != nil && !errors.Is(kill, os.ErrProcessDone) {
		err = errors.Join(err, kill)
	}
	<-s.gone
	return err
}

// Orders is the inner end of a Session's pipe.
type Orders struct {
	decoder *json.Decoder
	file    *os.File
}

// Inside reads the orders that this process, the first of a range, was started with.
func Inside(orders any) (*Orders, error) {
	f := os.NewFile(lifeFD, "orders")
	if f == nil || os.Getpid() != 1 {
		return nil, errors.New("this command is for livedrill itself: it starts the inside of a range")
	}
	o := &Orders{decoder: json.NewDecoder(f), file: f}
	if err := o.decoder.Decode(orders); err != nil {
		return nil, fmt.Errorf("range orders: %w", err)
	}
	return o, nil
}

// Watch hands each further order on and returns when the process outside is gone. The caller then ends this process, and
// the kernel the range.
func (o *Orders) Watch(order func(line string)) {
	lines := bufio.NewScanner(io.MultiReader(o.decoder.Buffered(), o.file))
	for lines.Scan() {
		if line := lines.Text(); line != "" {
			order(line)
		}
	}
}

// locked runs do on a thread of its own that ends with it, so that a namespace joined there cannot leak. The process's first
// thread cannot end, and the world takes its namespaces for those of the process: it is never used.
func locked(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread() // while it is held here, the other goroutine is on another thread
			done <- locked(do)
			return
		}
		done <- do() // never unlocked: the thread dies with the goroutine
	}()
	return <-done
}
