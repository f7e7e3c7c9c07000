//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/documents"
)

func (a *app) gateSplit() *cobra.Command {
	var what, out string
	var share, scale float64
	var asJSON bool
	c := &cobra.Command{Use: "split NAME|FILE --b WHAT", Short: "Run two versions of the gateway side by side in one run, and compare them",
		Long: `Split runs the scenario once, without its faults, with a second gateway beside the first. A share of the users, chosen by the hash
of their names, is served by it; both are measured in the same windows. WHAT is a list of NAME=VALUE: bin=PATH runs the second
gateway from another livedrill, DEFENCE=on and DEFENCE=off change its defences.

Exit codes: 0 the same or better, 3 worse, 4 this run cannot tell.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios,
		RunE: func(c *cobra.Command, args []string) error {
			f := runFlags{timeScale: scale, noFaults: true, out: out, sets: []string{fmt.Sprintf("target.canary.share=%g", share)}}
			for _, pair := range strings.Split(what, ",") {
				key, value, ok := strings.Cut(pair, "=")
				switch {
				case pair == "":
				case key == "bin":
					f.sets = append(f.sets, "target.canary.program="+value)
				case ok && (value == "on" || value == "off"):
					f.sets = append(f.sets, fmt.Sprintf("target.canary.defences.%s=%t", key, value == "on"))
				default:
					return usage(fmt.Errorf("--b %s: write it as bin=PATH or DEFENCE=on or DEFENCE=off", what))
				}
			}
			orders, err := f.orders(args[0], false)
			if err != nil {
				return usage(err)
			}
			orders.Terminal = terminal(a.err)
			launch, err := a.launch(c.Context(), orders)
			if err != nil {
				return err
			}
			d, err := documents.Finish(context.WithoutCancel(c.Context()), launch.Dir, "en")
			if err != nil {
				return internal(err)
			}
			if asJSON {
				if err := a.writeJSON(d.Arms); err != nil {
					return err
				}
			} else if err := a.armsTable(d.Arms); err != nil {
				return err
			}
			return armsVerdict(d)
		}}
	c.Flags().StringVar(&what, "b", "", "the version beside the scenario's own")
	c.Flags().Float64Var(&share, "share", 0.3, "share of the users that b serves")
	c.Flags().Float64Var(&scale, "time-scale", 1, "stretch (2) or shorten (0.5) the timeline")
	c.Flags().StringVar(&out, "out", "", "run directory (default runs/TIME-SCENARIO)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// armsTable prints the comparison of an A/B run.
func (a *app) armsTable(arms *reports.Arms) error {
	if arms == nil {
		return nil
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "b had %s of the requests (%s)\n\nSLI\tA\tB\tCHANGE\t95 %%\tVERDICT\n", reports.Percent(arms.Share.Value), reports.Bounds(&arms.Share.Low, &arms.Share.High, "ratio"))
	for _, r := range arms.Rows {
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\t%s to %s\t%s\n", r.SLI, r.Point, reports.Quantity(r.A, r.Unit), reports.Quantity(r.B, r.Unit), signed(r.Change), signed(r.Low), signed(r.High), r.Verdict)
	}
	if err := t.Flush(); err != nil {
		return internal(err)
	}
	return nil
}

// armsVerdict ends with the comparison's exit code. A run that went wrong compares nothing.
func armsVerdict(d documents.Document) error {
	if d.Verdict == reports.Interrupted {
		return exitError{exitInterrupted, errors.New("interrupted: nothing is compared")}
	}
	for _, l := range d.Loads {
		if l.State == "saturated" {
			return exitError{4, fmt.Errorf("the load %s was saturated: the numbers are the load's, not the platform's", l.Name)}
		}
	}
	switch {
	case len(d.Problems) > 0:
		return exitError{4, errors.New(strings.Join(d.Problems, "; "))}
	case d.Arms == nil:
		return exitError{4, errors.New("the scenario has no load on the API that could be split")}
	case d.Arms.Worse > 0:
		return exitError{3, errors.New("b is worse")}
	case d.Arms.Open > 0:
		return exitError{4, errors.New("this run cannot tell: make it longer, or give b a larger share")}
	}
	return nil
}

func signed(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%+.2f %%", *v*100)
}
