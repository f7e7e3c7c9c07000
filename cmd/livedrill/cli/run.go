//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports/documents"
	"github.com/livedrill/livedrill/scenarios"
)

// runFlags are the options of a run.
type runFlags struct {
	out       string
	seed      uint64
	sets      []string
	profile   string
	timeScale float64
	noFaults  bool
	capture   bool
	json      bool
}

func (a *app) run() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run NAME|FILE", Short: "Run a scenario and report",
		Long: `Run makes a range, brings the platform up in it, puts the scenario's load on it, injects its faults, takes
everything down again and writes the report. Ctrl-C stops, restores and reports; a second one leaves at once.

Exit codes: 0 every objective met, 2 nothing was started, 3 an objective was missed, 4 inconclusive, 5 a fault could not
be proven restored, 130 interrupted.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios,
		RunE: func(c *cobra.Command, args []string) error {
			orders, err := f.orders(args[0], c.Flags().Changed("seed"))
			if err != nil {
				return usage(err)
			}
			orders.Terminal = terminal(a.err)
			return a.drill(c.Context(), orders, f.json)
		},
	}
	c.Flags().StringVar(&f.out, "out", "", "run directory (default runs/TIME-SCENARIO)")
	c.Flags().Uint64Var(&f.seed, "seed", 0, "seed of everything random (default: the scenario's)")
	c.Flags().StringArrayVar(&f.sets, "set", nil, "change a value of the scenario, as in load.chat.rate=100/s")
	c.Flags().StringVar(&f.profile, "profile", "", "weak or hardened (default: the scenario's)")
	c.Flags().Float64Var(&f.timeScale, "time-scale", 1, "stretch (2) or shorten (0.5) the timeline")
	c.Flags().BoolVar(&f.noFaults, "no-faults", false, "leave the faults out: the same load for the same time, as a control")
	c.Flags().BoolVar(&f.capture, "capture", false, "keep the heads of all packets around each fault, a pcap file for each host in DIR/captures")
	c.Flags().BoolVar(&f.json, "json", false, "print result.json on stdout")
	return c
}

// orders reads the scenario and says how it is to be run.
func (f runFlags) orders(name string, seeded bool) (scenarios.Orders, error) {
	file, text, err := scenarios.Read(name)
	if err != nil {
		return scenarios.Orders{}, err
	}
	if !(f.timeScale >= 0.05 && f.timeScale <= 100) {
		return scenarios.Orders{}, fmt.Errorf("--time-scale %g: is not between 0.05 and 100", f.timeScale)
	}
	o := scenarios.Orders{File: file, Text: text, Sets: f.sets, Profile: f.profile, TimeScale: f.timeScale, NoFaults: f.noFaults, Capture: f.capture, Ordered: time.Now(),
		Version: version(), Dir: f.out}
	if seeded {
		o.Seed = &f.seed
	}
	s, err := o.Resolve()
	if err != nil {
		return o, err
	}
	o.ID = scenarios.NewID(s.Name, o.Ordered)
	if o.Dir == "" {
		o.Dir = filepath.Join("runs", o.ID)
	}
	o.Cache, err = cacheDir()
	return o, err
}

// launch runs orders to the end. What they left is to be judged.
func (a *app) launch(ctx context.Context, o scenarios.Orders) (*scenarios.Launch, error) {
	launch, err := scenarios.Prepare(ctx, o)
	if err != nil {
		return nil, usage(err)
	}
	launch.Stdout, launch.Stderr = a.err, a.err // the range's progress; stdout is for the result
	code, err := launch.Go(ctx, a.now)
	if err != nil {
		return nil, exitError{max(code, exitInternal), err}
	}
	return launch, ended(code)
}

// drill runs orders to the end, judges and reports.
func (a *app) drill(ctx context.Context, o scenarios.Orders, asJSON bool) error {
	launch, err := a.launch(ctx, o)
	if err != nil {
		return err
	}
	// The report is written whatever the user asked to stop.
	d, err := documents.Finish(context.WithoutCancel(ctx), launch.Dir, "en")
	if err != nil {
		return internal(err)
	}
	if asJSON {
		err = a.writeJSON(d.Result)
	} else {
		err = summary(context.WithoutCancel(ctx), a, d, launch.Dir)
	}
	if code := d.ExitCode(); err == nil && code != 0 {
		return exitError{code, nil}
	}
	return err
}

// ended tells what it means that the range ended with a code.
func ended(code int) error {
	switch code {
	case 0:
		return nil
	case exitInternal: // it has said why
		return exitError{exitInternal, nil}
	case exitInterrupted:
		return exitError{exitInterrupted, nil}
	case -1:
		return internal(errors.New("the range's first process was killed: there is no report"))
	default:
		return internal(fmt.Errorf("the range's first process failed (code %d): there is no report", code))
	}
}

func summary(ctx context.Context, a *app, d documents.Document, dir string) error {
	format, err := documents.FindFormat("text")
	if err == nil {
		err = format.Write(ctx, a.out, d)
	}
	if err == nil {
		_, err = fmt.Fprintf(a.out, "\nreport  %s\n", filepath.Join(shortPath(dir), "report.html"))
	}
	if err != nil {
		return internal(err)
	}
	return nil
}

// shortPath gives a path as seen from here where that is shorter.
func shortPath(dir string) string {
	here, err := os.Getwd()
	if err != nil {
		return dir
	}
	if rel, err := filepath.Rel(here, dir); err == nil && len(rel) < len(dir) {
		return rel
	}
	return dir
}

func completeScenarios(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return append(scenarios.Names(), "yaml"), cobra.ShellCompDirectiveDefault
}
