package cli

import (
	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports/history"
)

func (a *app) history() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "history [DIR]", Short: "Show how numbers move over all runs, and which actions nobody has proved done",
		Long: `History reads the result of every run below DIR (default runs): the trend of each number, the runs at which its level changed,
and the actions of earlier reports that no later run has proved done.`, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "runs"
			if len(args) == 1 {
				dir = args[0]
			}
			book, err := history.Read(c.Context(), dir)
			if err != nil {
				return stopped(c.Context(), err)
			}
			if asJSON {
				return a.writeJSON(book)
			}
			if err := book.Write(a.out); err != nil {
				return internal(err)
			}
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
