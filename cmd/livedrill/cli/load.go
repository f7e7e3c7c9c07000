//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	loadkinds "github.com/livedrill/livedrill/loadgen/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/scenarios"
)

// loadSettings are the flags that stand for a kind's setting of the same name.
var loadSettings = []string{"connections", "publishers", "viewers", "users", "bitrate", "fps", "size", "url", "sample"}

// allFailed is the share of arrivals from which on nothing was loaded: failures are counted when they are known, so that they and the arrivals of a
// window never agree to the last one.
const allFailed = 0.99

func (a *app) load() *cobra.Command {
	var hold time.Duration
	var alone scenarios.Alone
	var profile, out string
	var seed uint64
	var asJSON bool
	c := &cobra.Command{Use: "load KIND", Short: "Put one kind of load alone on the bundled platform, or on a server of one's own",
		Long: `Load brings the bundled platform up in a range and puts one kind of load on it. With --url the load goes to a server of your own on
loopback, and there is no range; https:// addresses are trusted as the machine trusts them (SSL_CERT_FILE names another authority).
KIND is one of ` + strings.Join(loadNames(), ", ") + `; livedrill list loads shows the settings of each.

Exit codes: 0 the load was made, 2 nothing was started, 4 it could not be made as it was asked for, or 99 % of its clients failed.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return loadNames(), cobra.ShellCompDirectiveNoFileComp
		}}
	c.Flags().DurationVar(&hold, "for", 20*time.Second, "how long")
	for _, name := range loadSettings {
		c.Flags().String(name, "", "the kind's setting "+name)
	}
	c.Flags().StringVar(&alone.Rate, "rate", "", "arrivals, as in 500/s")
	c.Flags().StringVar(&alone.Shape, "shape", "", "form of the rate over time: ramp, steps, spike, bursts, wave, trace, flash-sale, celebrity or match, as in \"spike to=50000/s at=5s\"")
	c.Flags().StringVar(&alone.RoomSize, "room-size", "", "members of each room")
	c.Flags().StringVar(&alone.Segment, "segment", "", "make one part of the load only, as in 2/3")
	c.Flags().StringArrayVar(&alone.With, "with", nil, "any other setting, as in stay=10s")
	c.Flags().StringArrayVar(&alone.Regions, "region", nil, "share of a region, as in north=80%")
	c.Flags().StringVar(&profile, "profile", "hardened", "weak or hardened")
	c.Flags().StringVar(&out, "out", "", "run directory (default runs/TIME-load-KIND)")
	c.Flags().Uint64Var(&seed, "seed", 1, "seed of everything random")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains(loadNames(), args[0]) {
			return usage(fmt.Errorf("no load %q%s: there are %s", args[0], reports.Nearest(args[0], loadNames()), strings.Join(loadNames(), ", ")))
		}
		if hold < time.Second || hold > 24*time.Hour {
			return usage(fmt.Errorf("--for %s: is not between 1s and 24h", hold))
		}
		for _, name := range loadSettings {
			if c.Flags().Changed(name) {
				value, _ := c.Flags().GetString(name) // the flag is there
				alone.With = append(alone.With, name+"="+value)
			}
		}
		alone.Kind, alone.For = args[0], hold
		text, err := alone.YAML()
		if err != nil {
			return usage(err)
		}
		o := scenarios.Orders{File: "load", Text: text, Profile: profile, Seed: &seed, TimeScale: 1, Ordered: time.Now(), Version: version(), Dir: out}
		if _, err := o.Resolve(); err != nil {
			return usage(err)
		}
		o.ID = scenarios.NewID("load-"+args[0], o.Ordered)
		if o.Dir == "" {
			o.Dir = filepath.Join("runs", o.ID)
		}
		if o.Cache, err = cacheDir(); err != nil {
			return internal(err)
		}
		o.Terminal = terminal(a.err)
		return a.loadAlone(c, o, alone.Outside(), asJSON)
	}
	return c
}

func loadNames() []string {
	var out []string
	for _, k := range loadkinds.All {
		out = append(out, k.Name)
	}
	return out
}

// loadAlone runs the load and prints what it did and what it saw.
func (a *app) loadAlone(c *cobra.Command, o scenarios.Orders, outside, asJSON bool) error {
	dir, err := a.makeLoad(c.Context(), o, outside)
	if err != nil {
		return err
	}
	if err := reports.WriteManifest(dir); err != nil {
		return internal(err)
	}
	// What was measured is shown whatever the user asked to stop.
	d, err := reports.Judge(context.WithoutCancel(c.Context()), dir)
	if err != nil {
		return internal(err)
	}
	slis := d.Whole()
	if asJSON {
		err = a.writeJSON(struct {
			Loads []reports.Load                 `json:"loads"`
			SLIs  map[string]map[string]*float64 `json:"slis"`
		}{d.Loads, slis})
	} else {
		err = a.loadTable(d, slis)
		fmt.Fprintf(a.err, "the run is in %s\n", shortPath(dir))
	}
	if err != nil {
		return err
	}
	if d.Verdict == reports.Interrupted {
		return exitError{exitInterrupted, nil}
	}
	for _, l := range d.Loads {
		switch {
		case l.State == "saturated":
			return exitError{4, fmt.Errorf("%s: the load that was asked for could not be made", l.Name)}
		case l.Offered == 0 && (l.Kind == "http" || l.Kind == "danmaku"):
			return exitError{4, fmt.Errorf("%s: nothing was due in the time that counts: the load was behind all the while", l.Name)}
		case l.Achieved > 0 && l.Failed >= allFailed*l.Achieved:
			return exitError{4, fmt.Errorf("%s: every single arrival failed, or all but one in a hundred", l.Name)}
		}
	}
	for sli, none := range map[string]string{"publish_accept_ratio": "not one publish was accepted", "danmaku_accept_ratio": "not one message was acknowledged"} {
		if p := slis[sli]; p["value"] != nil && *p["value"] == 0 {
			return exitError{4, errors.New(none)}
		}
	}
	if s := slis["stall_ratio"]; s["value"] != nil && *s["value"] > blind && slis["first_frame_seconds"] == nil {
		return exitError{4, errors.New("not one viewer has seen a picture")}
	}
	if len(d.Problems) > 0 {
		return exitError{4, errors.New(strings.Join(d.Problems, "; "))}
	}
	return nil
}

// blind is the share of their time for which viewers wait who never see a picture; the rest is the beginning, before it counts as a stall.
const blind = 0.95

// makeLoad runs the load in a range, or outside of one on the user's own server, and returns the run directory.
func (a *app) makeLoad(ctx context.Context, o scenarios.Orders, outside bool) (string, error) {
	if !outside {
		launch, err := a.launch(ctx, o)
		if err != nil {
			return "", err
		}
		return launch.Dir, nil
	}
	p := newProgress(a.err, o.Terminal)
	defer p.end()
	var dir string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		dir, err = scenarios.RunOutside(ctx, o, p.event)
	}()
	select {
	case <-done:
	case <-a.now: // nothing outlives this process
		return "", exitError{exitInterrupted, nil}
	}
	if err != nil && dir == "" {
		return "", usage(err)
	}
	if err != nil {
		return "", internal(err)
	}
	return dir, nil
}

func (a *app) loadTable(d reports.Sheet, slis map[string]map[string]*float64) error {
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "LOAD\tASKED\tMADE\tFAILED\tLATE P99\tCPU\tSTATE\n")
	for _, l := range d.Loads {
		fmt.Fprintf(t, "%s\t%.1f/s\t%.1f/s\t%s\t%.1f ms\t%.1f s\t%s\n", l.Name, l.RateOffered, l.RateAchieved, reports.Count(l.Failed), l.LateP99, l.CPU, l.State)
	}
	for _, l := range d.Loads {
		for i, c := range l.Causes() {
			if i == 0 {
				fmt.Fprintf(t, "\n%s FAILED\tARRIVALS\n", strings.ToUpper(l.Name))
			}
			fmt.Fprintf(t, "%s\t%s\n", c.Why, reports.Count(c.N))
		}
	}
	fmt.Fprint(t, "\nSLI\tVALUE\t95% BOUNDS\tP50\tP95\tP99\tN\n") // of a share, if its events have nothing to do with each other
	for _, name := range sortedKeys(slis) {
		v := slis[name]
		sli, _ := reports.FindSLI(name)
		bounds := "-"
		if v["low"] != nil {
			bounds = reports.Quantity(v["low"], sli.Unit) + " to " + reports.Quantity(v["high"], sli.Unit)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, reports.Quantity(v["value"], sli.Unit), bounds, reports.Quantity(v["p50"], sli.Unit),
			reports.Quantity(v["p95"], sli.Unit), reports.Quantity(v["p99"], sli.Unit), reports.Count(*v["n"]))
	}
	if err := t.Flush(); err != nil {
		return internal(err)
	}
	return nil
}
