package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/scenarios"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/stack"
)

// handsOn is the scenario of a kept range: a platform, and nothing else.
const handsOn = `name: hands-on
summary: A platform that stays up for hands-on work.
load: {nobody: {kind: http}}
`

// exposed are the endpoints of a kept range: where they lead inside, the usual port outside, and the form of their address.
// The channel is "demo"; any other name can be published and watched in the same way.
var exposed = []struct {
	name, to string
	port     int
	form     string
}{
	{"rtmp", fmt.Sprintf("ingest-a:%d", target.PortRTMP), 1935, "rtmp://%s/live/demo"},
	{"hls", fmt.Sprintf("edge-north:%d", target.PortHTTP), 8081, "http://%s/live/demo/index.m3u8"},
	{"api", fmt.Sprintf("gateway:%d", target.PortHTTP), 8080, "http://%s"},
	{"danmaku", fmt.Sprintf("danmaku-a:%d", target.PortDanmaku), 8090, "ws://%s/ws?room=demo"},
	{"metrics", scenarios.MetricsRoute, 9464, "http://%s/metrics"},
}

func (a *app) target() *cobra.Command {
	c := &cobra.Command{Use: "target", Short: "Keep a platform up for hands-on work", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(a.targetUp(), a.targetKeep(), a.targetDown(), a.targetStatus(), a.targetLogs(), a.targetConfig())
	return c
}

func (a *app) targetUp() *cobra.Command {
	var name, profile, expose string
	var asJSON bool
	c := &cobra.Command{Use: "up", Short: "Bring the bundled platform up in a range and keep it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !scenarios.PlainName(name) {
				return usage(fmt.Errorf("--name %q: a name is 1 to 32 letters, digits and dashes", name))
			}
			if _, err := scenarios.FindRange(name); err == nil {
				return usage(fmt.Errorf("a range %q is up already: livedrill target down --name %s ends it", name, name))
			}
			if _, err := target.ProfileDefences(profile, nil); err != nil {
				return usage(err)
			}
			if ip := net.ParseIP(expose); expose != "" && (ip == nil || !ip.IsLoopback()) {
				return usage(fmt.Errorf("--expose %s: is no loopback address: a range is not opened to a network", expose))
			}
			s, err := a.startKeeper(c.Context(), name, profile, expose)
			if err != nil {
				return usage(err)
			}
			if asJSON {
				return a.writeJSON(map[string]any{"name": s.Name, "id": s.ID, "profile": s.Profile, "dir": s.Dir, "endpoints": s.Endpoints})
			}
			t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(t, "range\t%s (%s)\nlogs\t%s\n", s.Name, s.Profile, filepath.Join(s.Dir, "logs"))
			for _, k := range sortedKeys(s.Endpoints) {
				fmt.Fprintf(t, "%s\t%s\n", k, s.Endpoints[k])
			}
			if err := t.Flush(); err != nil {
				return internal(err)
			}
			return nil
		}}
	c.Flags().StringVar(&name, "name", "default", "name of the range")
	c.Flags().StringVar(&profile, "profile", "hardened", "weak or hardened")
	c.Flags().StringVar(&expose, "expose", "", "loopback address on which ordinary clients can use the platform")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// keepOrder is what the process is told that keeps a range.
type keepOrder struct{ Name, Profile, Expose string }

// startKeeper starts a process of its own that keeps the range, and waits until the platform is ready.
func (a *app) startKeeper(ctx context.Context, name, profile, expose string) (scenarios.State, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return scenarios.State{}, err
	}
	defer read.Close()
	order, err := json.Marshal(keepOrder{name, profile, expose})
	if err != nil {
		return scenarios.State{}, err
	}
	cmd := exec.Command("/proc/self/exe", "target", "keep", string(order))
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
	text, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		return scenarios.State{}, errors.Join(fmt.Errorf("the platform did not come up: %s", strings.ReplaceAll(strings.TrimSpace(line), "\t", "\n")), cmd.Wait())
	}
	var s scenarios.State
	return s, json.Unmarshal([]byte(text), &s)
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

func (a *app) keep(ctx context.Context, order keepOrder, tell *os.File) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	now := time.Now()
	o := scenarios.Orders{File: "hands-on.yaml", Text: []byte(handsOn), Profile: order.Profile, TimeScale: 1, Ordered: now, Keep: true,
		Version: version(), ID: scenarios.NewID("range-"+order.Name, now), Cache: cache}
	o.Dir = filepath.Join(cache, "ranges", o.ID)
	launch, err := scenarios.Prepare(ctx, o)
	if err != nil {
		return err
	}
	defer os.RemoveAll(launch.Dir)
	if err := launch.Keep(order.Name, order.Expose, func(expose func(to string, port int) (string, error)) (map[string]string, error) {
		endpoints := map[string]string{}
		for _, e := range exposed {
			addr, err := expose(e.to, e.port)
			if err != nil {
				return nil, err
			}
			endpoints[e.name] = fmt.Sprintf(e.form, addr)
			if e.name == "hls" {
				endpoints["flv"] = "http://" + addr + "/live/demo.flv"
			}
		}
		return endpoints, nil
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

// ask sends one request to a kept range's control socket.
func ask(ctx context.Context, s scenarios.State, method, path string, body any) ([]byte, error) {
	socket, err := s.ControlPath()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://range"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	resp, err := record.Client(socket).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(answer)))
	}
	return answer, err
}

// onRange makes a command that works on a kept range.
func (a *app) onRange(use, short string, args cobra.PositionalArgs, do func(context.Context, scenarios.State, []string) error) *cobra.Command {
	var name string
	c := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error {
		s, err := scenarios.FindRange(name)
		if err != nil {
			return usage(err)
		}
		return do(c.Context(), s, args)
	}}
	c.Flags().StringVar(&name, "name", "default", "name of the range")
	return c
}

func (a *app) targetDown() *cobra.Command {
	return a.onRange("down", "End a kept range", cobra.NoArgs, func(ctx context.Context, s scenarios.State, _ []string) error {
		if _, err := ask(ctx, s, http.MethodPost, "/down", nil); err != nil {
			return internal(err)
		}
		for s.Alive() {
			if !target.Wait(ctx, 20*time.Millisecond) {
				return exitError{exitInterrupted, ctx.Err()}
			}
		}
		return nil
	})
}

func (a *app) targetStatus() *cobra.Command {
	var asJSON bool
	c := a.onRange("status", "Show a kept range's components", cobra.NoArgs, func(ctx context.Context, s scenarios.State, _ []string) error {
		answer, err := ask(ctx, s, http.MethodGet, "/status", nil)
		if err != nil {
			return internal(err)
		}
		var all []scenarios.Health
		if err := json.Unmarshal(answer, &all); err != nil {
			return internal(err)
		}
		if asJSON {
			return a.writeJSON(map[string]any{"name": s.Name, "id": s.ID, "profile": s.Profile, "dir": s.Dir, "endpoints": s.Endpoints, "components": all})
		}
		t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, h := range all {
			state := "healthy"
			if !h.Healthy {
				state = "sick: " + h.Detail
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", h.Name, h.Kind, h.Region, state)
		}
		return t.Flush()
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) targetLogs() *cobra.Command {
	return a.onRange("logs COMPONENT", "Print a component's log", cobra.ExactArgs(1), func(_ context.Context, s scenarios.State, args []string) error {
		for _, c := range stack.Components() {
			if c.Name != args[0] {
				continue
			}
			f, err := os.Open(filepath.Join(s.Dir, "logs", c.Name+".log"))
			if err != nil {
				return internal(err)
			}
			defer f.Close()
			if _, err := io.Copy(a.out, f); err != nil {
				return internal(err)
			}
			return nil
		}
		return usage(fmt.Errorf("no component %q: livedrill list components shows all", args[0]))
	})
}

func (a *app) targetConfig() *cobra.Command {
	var profile string
	c := &cobra.Command{Use: "config [COMPONENT]", Short: "Print the real servers' configuration as they would run", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			defences, err := target.ProfileDefences(profile, nil)
			if err != nil {
				return usage(err)
			}
			hidden := target.Secrets{Token: "HIDDEN", Stream: "HIDDEN", Database: "HIDDEN", Redis: "HIDDEN"}
			o := stack.Options{Profile: profile, Defences: defences, Secrets: hidden}
			found := false
			for _, component := range stack.Components() {
				kind, _ := stack.FindKind(component.Kind)
				if kind.Conf == nil || len(args) == 1 && args[0] != component.Name {
					continue
				}
				cfg, _ := o.Config(component.Name)
				cfg.Dir, cfg.Listen = "/run/livedrill/data/"+component.Name, component.Name
				fmt.Fprintf(a.out, "### %s (%s)\n%s\n", component.Name, profile, kind.Conf(cfg))
				found = true
			}
			if !found {
				return usage(fmt.Errorf("no component %q with a configuration file", args[0]))
			}
			return nil
		}}
	c.Flags().StringVar(&profile, "profile", "hardened", "weak or hardened")
	return c
}
