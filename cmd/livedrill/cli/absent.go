package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// absent are commands that this system has not got what they need for.
func absent(names ...string) (out []*cobra.Command) {
	for _, name := range names {
		out = append(out, &cobra.Command{Use: name, Short: "(needs Linux)", DisableFlagParsing: true,
			RunE: func(c *cobra.Command, _ []string) error {
				return usage(fmt.Errorf("%s needs Linux, its namespaces, cgroups and packet filters, and this is %s: here livedrill reads what was recorded elsewhere, by report, gate, history and logs",
					c.CommandPath(), runtime.GOOS))
			}})
	}
	return out
}
