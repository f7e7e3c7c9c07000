// Package cli is the command line: one file per command. Flags, output and exit codes live here and nowhere else.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Version is set when a release is built; otherwise it comes from the module or the checkout.
var Version = ""

// The exit codes of every command.
const (
	exitInternal    = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// exitError carries the code that the program ends with.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

func usage(err error) error { return exitError{exitUsage, err} }

func internal(err error) error { return exitError{exitInternal, err} }

// app is what commands share: the streams, and how the user asked to stop.
type app struct {
	in       io.Reader
	out, err io.Writer
	now      chan struct{} // closed by the second Ctrl-C
}

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	written := &sink{to: out}
	a := &app{in: in, out: written, err: errs, now: make(chan struct{})}
	slog.SetDefault(slog.New(slog.NewTextHandler(errs, nil)))
	// Servers live where ordinary users do not look.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin"); err != nil {
		fmt.Fprintf(errs, "livedrill: %v\n", err)
		return exitInternal
	}
	ctx, stop := a.signals(ctx)
	defer stop()
	root := a.root()
	if len(args) > 0 && args[0] == "gate" {
		args = spread(args, "--baseline", "--candidate")
	}
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(written)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if written.failed != nil { // some of cobra's own do not tell
		err = internal(written.failed)
	}
	if err == nil {
		return 0
	}
	var known exitError
	if !errors.As(err, &known) {
		known = exitError{exitUsage, err} // cobra's own: unknown commands and flags
	}
	if known.err != nil {
		fmt.Fprintf(errs, "livedrill: %v\n", known.err)
	}
	return known.code
}

// sink remembers that what was printed did not get out: a full disk behind stdout is no success.
type sink struct {
	to     io.Writer
	failed error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.to.Write(b)
	if s.failed == nil {
		s.failed = err
	}
	return n, err
}

// signals ends the returned context at the first Ctrl-C or request to end, and closes a.now at the second.
func (a *app) signals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ch:
				cancel()
				if n == 1 {
					close(a.now)
					return
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel()
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "livedrill",
		Short: "Rehearse the bad days of a live-streaming platform",
		Long: `Livedrill brings a live-streaming platform up on one machine, drives it with real RTMP, HLS, danmaku and
HTTP traffic, breaks it on a timeline, and says what each fault did to each number.`,
		SilenceErrors: true, SilenceUsage: true, Version: version(),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddCommand(a.commands()...)
	return root
}

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

// terminal tells whether w is a terminal on which output may move and have colour.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

// writeJSON prints the one document of --json.
func (a *app) writeJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return internal(err)
	}
	return nil
}

// cacheDir is where things are kept that can be made again.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "livedrill"), nil
}
