package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Program is a real server or encoder that a component runs and watches. It dies with the component, even by kill -9.
type Program struct {
	Path    string
	Args    []string
	Stdin   io.Reader
	Output  io.Writer  // standard output and error
	Files   []*os.File // become descriptors 3, 4, ...
	Started func(pid int)
	Ended   func(*os.ProcessState)
	Grace   time.Duration // between the request to end and the kill; zero: kill at once
}

// Run runs the program until it ends or ctx does. It returns nil only when ctx ended it.
func (p Program) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the thread that started the child ends, so that thread is kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- p.run(ctx)
	}()
	return <-done
}

func (p Program) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Output, p.Output
	cmd.ExtraFiles = p.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.Grace > 0 {
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = p.Grace
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Path, err)
	}
	if p.Started != nil {
		p.Started(cmd.Process.Pid)
	}
	err := cmd.Wait()
	if p.Ended != nil {
		p.Ended(cmd.ProcessState)
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to end
	}
	if err == nil {
		err = errors.New("it ended")
	}
	return fmt.Errorf("%s: %w", p.Path, err)
}

// Keep runs a program again whenever it ends by itself, until ctx ends. restarted is told of each end.
func (p Program) Keep(ctx context.Context, restarted func(error)) error {
	for {
		err := p.Run(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to end
		}
		restarted(err)
		if !Wait(ctx, 200*time.Millisecond) {
			return nil
		}
	}
}
