package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/gate"
)

func (a *app) gate() *cobra.Command {
	var baseline, candidate, write, only []string
	var paired, asJSON bool
	c := &cobra.Command{Use: "gate --baseline DIR... --candidate DIR...", Short: "Compare runs of two versions and give one verdict",
		Long: `Gate compares the numbers of several runs of two versions. A DIR is a run directory, a folder of them, or a file that gate save
made. A metric is worse (or better) when chance does not explain its shift, corrected for all metrics, and the shift matters; it
is the same when its whole 95 % interval is within what does not matter; otherwise the runs cannot tell, and gate says how many
would. A metric that has few events in a run (one in a hundred of 30 publishes) cannot be told to be the same by any number of runs that
CI has time for: name those that matter with --only.

Exit codes: 0 the same or better, 2 bad usage or runs that say nothing, 3 worse, 4 the runs cannot tell.`,
		Example: `  livedrill gate --baseline baselines/evening-peak.json --candidate runs/new
  livedrill gate --baseline runs/old-1 runs/old-2 runs/old-3 --candidate runs/new-1 runs/new-2 runs/new-3 --write junit=gate.xml
  livedrill gate run evening-peak --a profile=hardened --b bin=/tmp/new/livedrill --rounds 10`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(baseline) == 0 || len(candidate) == 0 {
				return usage(errors.New("gate needs --baseline and --candidate, each with one run directory or more"))
			}
			if err := checkWrites(write, asJSON); err != nil {
				return err
			}
			metrics, err := gate.Pick(only)
			if err != nil {
				return usage(fmt.Errorf("--only: %w", err))
			}
			before, err := gate.Load(c.Context(), baseline)
			if err != nil {
				return stopped(c.Context(), err)
			}
			after, err := gate.Load(c.Context(), candidate)
			if err != nil {
				return stopped(c.Context(), err)
			}
			for _, r := range after {
				if slices.ContainsFunc(before, func(b gate.Run) bool { return b.ID == r.ID }) {
					return usage(fmt.Errorf("run %s is on both sides: a run held against itself says nothing", r.ID))
				}
			}
			if paired && len(before) != len(after) {
				return usage(fmt.Errorf("--paired: %d runs against %d are no pairs", len(before), len(after)))
			}
			return a.verdict(gate.Compare(before, after, paired, metrics), write, asJSON)
		}}
	c.Flags().StringArrayVar(&baseline, "baseline", nil, "runs of the version that is known to be good")
	c.Flags().StringArrayVar(&candidate, "candidate", nil, "runs of the version to be judged")
	c.Flags().BoolVar(&paired, "paired", false, "the runs were made in turns on one machine: the first of each side belong together, and so on")
	gateOutput(c, &write, &only, &asJSON)
	c.AddCommand(a.gates()...)
	return c
}

func gateOutput(c *cobra.Command, write, only *[]string, asJSON *bool) {
	var names []string
	for _, f := range gate.Formats {
		names = append(names, f.Name)
	}
	c.Flags().StringArrayVar(write, "write", nil, fmt.Sprintf("FORMAT=FILE: also write the comparison to a file (- is stdout; markdown and github are appended); one of %v", names))
	gateOnly(c, only)
	c.Flags().BoolVar(asJSON, "json", false, "print JSON")
}

func gateOnly(c *cobra.Command, only *[]string) {
	c.Flags().StringArrayVar(only, "only", nil, "metric that decides (more than once for more of them); usually all do")
	_ = c.RegisterFlagCompletionFunc("only", func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) { // the flag is there
		for _, m := range gate.Metrics {
			names = append(names, m.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// verdict prints a comparison and ends with its exit code.
func (a *app) verdict(r gate.Result, write []string, asJSON bool) error {
	for _, w := range write {
		if err := a.writeGate(w, r); err != nil {
			return err
		}
	}
	var err error
	if asJSON {
		err = a.writeJSON(r)
	} else {
		if err = gate.Formats[0].Write(a.out, r); err != nil {
			err = internal(err)
		}
	}
	if code := r.ExitCode(); err == nil && code != 0 {
		return exitError{code, nil}
	}
	return err
}

// parseWrite reads FORMAT=FILE.
func parseWrite(order string) (gate.Format, string, error) {
	name, path, ok := strings.Cut(order, "=")
	at := slices.IndexFunc(gate.Formats, func(f gate.Format) bool { return f.Name == name })
	if ok && at < 0 {
		var known []string
		for _, f := range gate.Formats {
			known = append(known, f.Name)
		}
		return gate.Format{}, "", usage(fmt.Errorf("--write %s: no format %q%s: there are %v", order, name, reports.Nearest(name, known), known))
	}
	if !ok || path == "" {
		return gate.Format{}, "", usage(fmt.Errorf("--write %s: write it as FORMAT=FILE", order))
	}
	return gate.Formats[at], path, nil
}

// checkWrites finds mistakes before hours of runs.
func checkWrites(orders []string, asJSON bool) error {
	for _, o := range orders {
		_, path, err := parseWrite(o)
		if err != nil {
			return err
		}
		if path == "-" && asJSON {
			return usage(fmt.Errorf("--write %s: stdout is for --json alone", o))
		}
	}
	return nil
}

func (a *app) writeGate(order string, r gate.Result) error {
	format, path, err := parseWrite(order)
	if err != nil {
		return err
	}
	if path == "-" {
		return format.Write(a.out, r)
	}
	how := os.O_TRUNC // a document is one document; what is read line by line goes behind what is there
	if format.Name == "markdown" || format.Name == "github" {
		how = os.O_APPEND
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|how, 0o644)
	if err != nil {
		return usage(err)
	}
	return errors.Join(format.Write(f, r), f.Close())
}

func (a *app) gateSave() *cobra.Command {
	var to string
	var keep int
	c := &cobra.Command{Use: "save DIR... --to FILE", Short: "Keep runs' numbers in a small file, for git or a CI cache", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if keep < 1 {
				return usage(fmt.Errorf("--keep %d: is below 1", keep))
			}
			runs, err := gate.Load(c.Context(), args)
			if err != nil {
				return stopped(c.Context(), err)
			}
			if err := gate.Save(to, runs, keep); err != nil {
				return usage(err)
			}
			stored, err := gate.Load(c.Context(), []string{to})
			if err != nil {
				return internal(err)
			}
			_, err = fmt.Fprintf(a.out, "%d runs in %s\n", len(stored), to)
			return err
		}}
	c.Flags().StringVar(&to, "to", "", "the file; runs that are in it already stay")
	c.Flags().IntVar(&keep, "keep", 30, "how many of the newest runs the file keeps")
	_ = c.MarkFlagRequired("to") // the flag is there
	return c
}

func (a *app) gateCheck() *cobra.Command {
	var planted string
	var by float64
	var paired, asJSON bool
	var only []string
	c := &cobra.Command{Use: "check DIR...", Short: "Say how far the gate can be trusted on runs of one version",
		Long: `Check splits runs of one version at random into two sides, 200 times, and counts false alarms. Then it makes one metric worse
on one side, 100 times, and counts how often that is seen. Exit code 3: more than 5 % false alarms.`, Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			runs, err := gate.Load(c.Context(), args)
			if err != nil {
				return stopped(c.Context(), err)
			}
			if !(by > 0 && by <= 10) {
				return usage(fmt.Errorf("--by %g: is not above 0 and at most 10", by))
			}
			metrics, err := gate.Pick(only)
			if err != nil {
				return usage(fmt.Errorf("--only: %w", err))
			}
			if len(only) > 0 && !c.Flags().Changed("metric") {
				planted = only[0]
			}
			s, err := gate.Check(runs, paired, metrics, 200, 100, planted, by)
			if err != nil {
				return usage(err)
			}
			if asJSON {
				err = a.writeJSON(s)
			} else {
				how := "a side"
				if paired {
					how = "pairs"
				}
				_, err = fmt.Fprintf(a.out, "%d runs, %d %s: %d false alarms in %d comparisons; %s made %.0f %% worse was seen in %d of %d (95 %%: %s)\n",
					s.Runs, s.PerSide, how, s.FalseAlarms, s.Comparisons, s.Planted, s.By*100, s.Caught, s.Trials, reports.Bounds(&s.Low, &s.High, "ratio"))
			}
			if err == nil && s.FalseAlarms*20 > s.Comparisons {
				return exitError{3, errors.New("the gate cries wolf on these runs: they do not come from one version, or from one machine")}
			}
			return err
		}}
	c.Flags().BoolVar(&paired, "paired", false, "the runs were made in turns, as gate run does: those that follow each other are pairs")
	gateOnly(c, &only)
	c.Flags().StringVar(&planted, "metric", "platform_cores", "metric to make worse (with --only: the first of those)")
	c.Flags().Float64Var(&by, "by", 0.10, "by how much, relative")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// spread lets a flag take several values: --baseline A B C stands for --baseline A --baseline B --baseline C.
func spread(args []string, flags ...string) []string {
	var out []string
	flag := ""
	for _, arg := range args {
		switch {
		case slices.Contains(flags, arg):
			flag = arg
		case strings.HasPrefix(arg, "-"):
			flag = ""
			out = append(out, arg)
		case flag != "":
			out = append(out, flag, arg)
		default:
			out = append(out, arg)
		}
	}
	return out
}

// interrupted tells whether the user asked to stop.
func interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return exitError{exitInterrupted, errors.New("interrupted")}
	}
	return nil
}
