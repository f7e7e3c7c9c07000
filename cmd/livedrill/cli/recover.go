//go:build linux

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/scenarios"
)

func (a *app) recover() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "recover", Short: "Finish what a dead run began",
		Long: `Recover puts back what a run left behind whose process has died: faults in its journal, cgroups, state files.
Ranges need no recovery: the kernel ends them with their first process. Exit code 0 means that nothing is left.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			done, err := scenarios.Recover(c.Context())
			if asJSON {
				if jsonErr := a.writeJSON(done); jsonErr != nil {
					return jsonErr
				}
			} else {
				for _, r := range done {
					fmt.Fprintf(a.out, "%s (%s)\n", r.ID, r.Dir)
					for _, did := range r.Did {
						fmt.Fprintf(a.out, "  %s\n", did)
					}
				}
				if len(done) == 0 && err == nil {
					fmt.Fprintln(a.out, "nothing to recover")
				}
			}
			if err != nil {
				return exitError{5, err}
			}
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
