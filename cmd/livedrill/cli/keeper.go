//go:build linux

package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/scenarios"
	"github.com/livedrill/livedrill/target"
)

// keepOrder is what the process is told that keeps a range.
type keepOrder struct {
	Name, Profile, Expose string
	Drives                []string
	Replica               bool
}

// startKeeper starts a process of its own that keeps the range, and waits until the platform is ready.
func (a *app) startKeeper(ctx context.Context, order keepOrder) (scenarios.State, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return scenarios.State{}, err
	}
	defer read.Close()
	text, err := json.Marshal(order)
	if err != nil {
		return scenarios.State{}, err
	}
	cmd := exec.Command("/proc/self/exe", "target", "keep", string(text))
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	write.Close()
	if err != nil {
		return scenarios.State{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	line, err := bufio.NewReader(read).ReadString('\n')
	ready, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		return scenarios.State{}, errors.Join(fmt.Errorf("the platform did not come up: %s", strings.ReplaceAll(strings.TrimSpace(line), "\t", "\n")), cmd.Wait())
	}
	var s scenarios.State
	return s, json.Unmarshal([]byte(ready), &s)
}

// targetKeep is the process that keeps a range. It is not for people.
func (a *app) targetKeep() *cobra.Command {
	return &cobra.Command{Use: "keep ORDER", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		tell := os.NewFile(3, "tell")
		var order keepOrder
		if err := json.Unmarshal([]byte(args[0]), &order); err != nil || tell == nil {
			return usage(errors.New("this command is for livedrill itself"))
		}
		if err := a.keep(c.Context(), order, tell); err != nil {
			fmt.Fprintln(tell, strings.ReplaceAll(err.Error(), "\n", "\t"))
			return internal(err)
		}
		return nil
	}}
}

func (a *app) keep(ctx context.Context, order keepOrder, tell *os.File) (err error) {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	drives, err := json.Marshal(order.Drives) // JSON is YAML
	if err != nil {
		return err
	}
	now := time.Now()
	o := scenarios.Orders{File: "hands-on.yaml", Text: []byte(handsOn), Profile: order.Profile, TimeScale: 1, Ordered: now, Keep: true, Sets: []string{"target.drives=" + string(drives), fmt.Sprintf("target.replica=%t", order.Replica)},
		Version: version(), ID: scenarios.NewID("range-"+order.Name, now), Cache: cache}
	o.Dir = filepath.Join(cache, "ranges", o.ID)
	launch, err := scenarios.Prepare(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, launch.State.RemoveKept()) }()
	if err := launch.Keep(order.Name, order.Expose, func(expose func(to string, port int) (string, error)) (map[string]string, error) {
		at := map[string]string{}
		for _, to := range sortedKeys(usualPorts) {
			if at[to], err = expose(to, usualPorts[to]); err != nil {
				return nil, err
			}
		}
		all := map[string]string{}
		for _, e := range endpoints {
			all[e.name] = fmt.Sprintf(e.form, at[e.to])
		}
		return all, nil
	}); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(launch.Dir, "logs", "range.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	launch.Stdout, launch.Stderr = log, log
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // when the control socket answers, the platform is up
		for target.Wait(ctx, 50*time.Millisecond) {
			if _, err := ask(ctx, launch.State, http.MethodGet, "/status", nil); err == nil {
				text, _ := json.Marshal(launch.State) // plain data
				fmt.Fprintf(tell, "ready %s\n", text)
				_ = tell.Close()
				return
			}
		}
	}()
	code, err := launch.Go(ctx, a.now)
	if err == nil && code != 0 {
		text, _ := os.ReadFile(log.Name()) // missing: nothing more to say
		err = fmt.Errorf("exit code %d: %s", code, text)
	}
	return err
}

// errFailed is an answer of a range that could not do what it was right to ask.
var errFailed = errors.New("the range failed")

// ask sends one request to a run's control socket.
func ask(ctx context.Context, s scenarios.State, method, path string, body any) (answer []byte, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://range"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	err = s.Control(func(socket string) error {
		resp, err := record.Client(socket).Do(req)
		var system *os.SyscallError
		if errors.As(err, &system) { // where the socket is says nothing
			return fmt.Errorf("%s does not answer: %w", s.ID, system.Err)
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s died before it answered: livedrill recover finishes what it began", s.ID)
		}
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		switch {
		case err != nil || resp.StatusCode == http.StatusOK:
			return err
		case resp.StatusCode == http.StatusInternalServerError:
			return fmt.Errorf("%w: %s", errFailed, bytes.TrimSpace(answer))
		}
		return errors.New(strings.TrimSpace(string(answer)))
	})
	return answer, err
}
