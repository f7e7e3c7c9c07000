package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports"
)

func (a *app) report() *cobra.Command {
	var format, lang string
	c := &cobra.Command{Use: "report DIR", Short: "Judge a stored run again and print its report",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := reports.FindFormat(format)
			if err != nil {
				return usage(err)
			}
			if !slices.Contains(reports.Langs, lang) {
				return usage(fmt.Errorf("no language %q: there are %v", lang, reports.Langs))
			}
			d, err := reports.Open(c.Context(), args[0], lang)
			if err != nil {
				return usage(err)
			}
			if err := f.Write(a.out, d); err != nil {
				return internal(err)
			}
			return nil
		}}
	var names []string
	for _, f := range reports.Formats {
		names = append(names, f.Name)
	}
	c.Flags().StringVar(&format, "format", "text", fmt.Sprintf("one of %v", names))
	c.Flags().StringVar(&lang, "lang", "en", fmt.Sprintf("one of %v (html)", reports.Langs))
	return c
}
