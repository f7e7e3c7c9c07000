//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/scenarios"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/stack"
)

// handsOn is the scenario of a kept range: a platform, and nothing else.
const handsOn = `name: hands-on
summary: A platform that stays up for hands-on work.
load: {nobody: {kind: http}}
`

// What of a kept range is exposed, and the usual ports outside.
var (
	toRTMP     = net.JoinHostPort("ingest-a", strconv.Itoa(target.PortRTMP))
	toWHIP     = net.JoinHostPort("ingest-a", strconv.Itoa(target.PortHTTP))
	toEdge     = net.JoinHostPort("edge-north", strconv.Itoa(target.PortHTTP))
	toGateway  = net.JoinHostPort("gateway", strconv.Itoa(target.PortHTTP))
	toDanmaku  = net.JoinHostPort("danmaku-a", strconv.Itoa(target.PortDanmaku))
	usualPorts = map[string]int{toRTMP: 1935, toWHIP: 8082, toEdge: 8081, toGateway: 8080, toDanmaku: 8090, scenarios.MetricsRoute: 9464,
		// The media of WebRTC have no endpoint of their own: the answer to an offer names their address.
		net.JoinHostPort("ingest-a", strconv.Itoa(target.PortMedia)): 8000, net.JoinHostPort("edge-north", strconv.Itoa(target.PortMedia)): 8001}
)

// endpoints are what clients outside may use. The channel is "demo"; any other name can be published and watched in the same way.
var endpoints = []struct{ name, to, form string }{
	{"rtmp", toRTMP, "rtmp://%s/live/demo"},
	{"whip", toWHIP, "http://%s/whip/demo"},
	{"hls", toEdge, "http://%s/live/demo/index.m3u8"},
	{"flv", toEdge, "http://%s/live/demo.flv"},
	{"whep", toEdge, "http://%s/whep/demo"},
	{"api", toGateway, "http://%s"},
	{"danmaku", toDanmaku, "ws://%s/ws?room=demo"},
	{"metrics", scenarios.MetricsRoute, "http://%s/metrics"},
}

func (a *app) target() *cobra.Command {
	c := &cobra.Command{Use: "target", Short: "Keep a platform up for hands-on work", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(a.targetUp(), a.targetKeep(), a.targetDown(), a.targetStatus(), a.targetLogs(), a.targetConfig())
	return c
}

func (a *app) targetUp() *cobra.Command {
	var name, profile, expose string
	var drives []string
	var replica bool
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
			for _, name := range drives {
				if !slices.ContainsFunc(stack.Components(), func(c target.Component) bool { return c.Name == name }) {
					return usage(fmt.Errorf("--drives: no component %q: livedrill target config --json lists them", name))
				}
			}
			s, err := a.startKeeper(c.Context(), keepOrder{name, profile, expose, drives, replica})
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
	c.Flags().BoolVar(&replica, "replica", false, "MariaDB has a replica, which the gateway reads from (mysql.replication-lag)")
	c.Flags().StringSliceVar(&drives, "drives", nil, "components whose disk can be made slow or fail (resource.disk-slow, resource.disk-errors)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
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
		audit, err := s.AuditPath()
		if err == nil {
			if _, err := os.Stat(audit); err == nil {
				fmt.Fprintf(a.err, "what was done to it is in %s\n", audit)
			}
		}
		return err
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
		for _, name := range sortedKeys(s.Endpoints) {
			fmt.Fprintf(t, "%s\t%s\n", name, s.Endpoints[name])
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
	var f runFlags
	var of string
	c := &cobra.Command{Use: "config [COMPONENT]", Short: "Print the real servers' configuration as they would run", Args: cobra.MaximumNArgs(1),
		Long: `Config prints the real servers' configuration files, without secrets; with --json what the platform is made of and the sum of it all,
which every report of it has, too. That document is also a file of variables for Terraform.`,
		Example: `  livedrill target config edge-north --profile weak
  livedrill target config --of evening-peak --json > platform.auto.tfvars.json`,
		RunE: func(_ *cobra.Command, args []string) error {
			story := scenarios.Scenario{Target: scenarios.Target{Profile: f.profile}}
			if of != "" {
				orders, err := f.orders(of, false)
				if err != nil {
					return usage(err)
				}
				if story, err = orders.Resolve(); err != nil {
					return usage(err)
				}
			} else if len(f.sets) > 0 {
				return usage(errors.New("--set changes a scenario: name it with --of"))
			} else if f.profile == "" {
				story.Target.Profile = "hardened"
			}
			o, err := story.Platform()
			if err != nil {
				return usage(err)
			}
			if f.json {
				if len(args) > 0 {
					return usage(errors.New("--json is of the whole platform: leave the component out"))
				}
				inventory, err := o.Inventory()
				if err != nil {
					return internal(err)
				}
				return a.writeJSON(inventory)
			}
			o.Secrets = target.Secrets{Token: "HIDDEN", Stream: "HIDDEN", Database: "HIDDEN", Redis: "HIDDEN"}
			found := false
			for _, component := range stack.Components() {
				kind, _ := stack.FindKind(component.Kind)
				if kind.Conf == nil || len(args) == 1 && args[0] != component.Name {
					continue
				}
				cfg, _ := o.Config(component.Name)
				cfg.Dir, cfg.Listen = "/run/livedrill/data/"+component.Name, component.Name
				fmt.Fprintf(a.out, "### %s (%s)\n%s\n", component.Name, o.Profile, kind.Conf(cfg))
				found = true
			}
			if !found {
				return usage(fmt.Errorf("no component %q with a configuration file", args[0]))
			}
			return nil
		}}
	f.timeScale = 1
	c.Flags().StringVar(&of, "of", "", "scenario whose platform it is")
	c.Flags().StringArrayVar(&f.sets, "set", nil, "change a value of that scenario, as in target.defences.edge-dispatch=false")
	c.Flags().StringVar(&f.profile, "profile", "", "weak or hardened (default: the scenario's, or hardened)")
	c.Flags().BoolVar(&f.json, "json", false, "print the inventory as JSON")
	return c
}
