//go:build linux

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/scenarios"
)

func (a *app) plan() *cobra.Command {
	var f runFlags
	var format string
	c := &cobra.Command{Use: "plan NAME|FILE", Short: "Check a scenario and print its timeline; nothing is started",
		Long: `Plan checks everything that can be checked without starting anything, and prints what would be done. --format jmx writes the
scenario's requests as a JMeter test plan (2.13 and later, no plug-ins), --format csv as a list of transactions with their due times.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.orders(args[0], c.Flags().Changed("seed"))
			if err != nil {
				return usage(err)
			}
			s, err := o.Resolve()
			if err != nil {
				return usage(err)
			}
			switch format {
			case "text":
			case "jmx", "csv":
				err := s.Export(c.Context(), a.out, format)
				if c.Context().Err() != nil {
					return exitError{exitInterrupted, nil}
				}
				if err != nil {
					return usage(err)
				}
				return nil
			default:
				return usage(fmt.Errorf("--format %s: there are %s", format, strings.Join(scenarios.PlanFormats, ", ")))
			}
			if err := s.WritePlan(a.out); err != nil {
				return internal(err)
			}
			for _, fault := range s.Faults {
				kind, _ := faultkinds.Find(fault.Kind)
				fmt.Fprintf(a.out, "%s acts by %s\n", fault.ID, strings.Join(kind.BackEnds, ", "))
			}
			for _, p := range scenarios.MissingPrograms() {
				fmt.Fprintf(a.out, "missing on this machine: %s\n", p)
			}
			return nil
		}}
	c.Flags().Uint64Var(&f.seed, "seed", 0, "seed of everything random (default: the scenario's)")
	c.Flags().StringArrayVar(&f.sets, "set", nil, "change a value of the scenario, as in load.chat.rate=100/s")
	c.Flags().StringVar(&f.profile, "profile", "", "weak or hardened (default: the scenario's)")
	c.Flags().Float64Var(&f.timeScale, "time-scale", 1, "stretch (2) or shorten (0.5) the timeline")
	c.Flags().StringVar(&format, "format", "text", "one of "+fmt.Sprint(scenarios.PlanFormats))
	c.Flags().BoolVar(&f.noFaults, "no-faults", false, "leave the faults out")
	return c
}
