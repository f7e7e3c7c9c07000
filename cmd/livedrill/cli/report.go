package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/documents"
)

// stopped is what an error means that came while the user may have asked to stop.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exitError{exitInterrupted, errors.New("interrupted")}
	}
	return usage(err)
}

func (a *app) report() *cobra.Command {
	var format, lang, baseline string
	c := &cobra.Command{Use: "report DIR", Short: "Judge a stored run again and print its report",
		Long: `Report judges a stored run from its record alone and prints it in the form that is asked for. It changes nothing.

Exit codes: 0 the run is told, 2 the directory holds nothing that can be judged, 4 its record is damaged, was changed after the
run, or is of a run that died: what can be said is printed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := documents.FindFormat(format)
			if err != nil {
				return usage(err)
			}
			if !slices.Contains(documents.Langs, lang) {
				return usage(fmt.Errorf("no language %q: there are %v", lang, documents.Langs))
			}
			if baseline != "" && !slices.Contains([]string{"html", "pdf", "text", "markdown"}, format) {
				return usage(errors.New("--baseline goes with --format html, pdf, text or markdown; livedrill gate compares runs for machines"))
			}
			d, err := documents.Open(c.Context(), args[0], lang)
			if err != nil {
				return stopped(c.Context(), err)
			}
			if baseline != "" {
				before, err := reports.Judge(c.Context(), baseline)
				if err == nil && before.Damaged {
					err = fmt.Errorf("%s: its record is not whole", baseline)
				}
				if err != nil {
					return stopped(c.Context(), err)
				}
				d.Baseline = documents.Compare(before, d.Sheet)
			}
			if err := f.Write(c.Context(), a.out, d); err != nil {
				return internal(err)
			}
			if d.Damaged {
				return exitError{4, errors.New("the record is not whole: the report says what could not be judged")}
			}
			return nil
		}}
	var names []string
	for _, f := range documents.Formats {
		names = append(names, f.Name)
	}
	c.Flags().StringVar(&format, "format", "text", fmt.Sprintf("one of %v", names))
	c.Flags().StringVar(&lang, "lang", "en", fmt.Sprintf("one of %v", documents.Langs))
	c.Flags().StringVar(&baseline, "baseline", "", "run directory to put beside it")
	return c
}
