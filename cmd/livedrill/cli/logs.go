package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/logs"
)

func (a *app) logs() *cobra.Command {
	var match, file string
	var from, to float64
	var asJSON, bulk bool
	c := &cobra.Command{Use: "logs DIR", Short: "Search a stored run's logs, all of them on one clock",
		Long: `Logs puts the lines of all processes of a run in the order in which they were written, with their time in seconds from the
run's start, whatever form each server gives its own time.`,
		Example: `  livedrill logs runs/X --match 'OOM|deadlock' --from 80 --to 100
  livedrill logs runs/X --bulk > bulk.ndjson     # for Elasticsearch's _bulk`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			pattern, err := regexp.Compile(match)
			if err != nil {
				return usage(fmt.Errorf("--match: %w", err))
			}
			facts, err := reports.ReadFacts(args[0])
			if err != nil {
				return usage(err)
			}
			lines, err := logs.Read(filepath.Join(args[0], "logs"), facts.Run.Started)
			if err != nil {
				return usage(err)
			}
			slices.SortStableFunc(lines, func(x, y logs.Line) int {
				switch {
				case x.T < y.T:
					return -1
				case x.T > y.T:
					return 1
				}
				return 0
			})
			if !(from >= 0 && (to == 0 || to > from)) {
				return usage(fmt.Errorf("--from %g --to %g: nothing lies between them", from, to))
			}
			file = strings.TrimSuffix(file, ".log")
			var files []string
			for _, l := range lines {
				if !slices.Contains(files, l.File) {
					files = append(files, l.File)
				}
			}
			if file != "" && !slices.Contains(files, file+".log") {
				return usage(fmt.Errorf("--process %s: there are %s", file, strings.ReplaceAll(strings.Join(files, ", "), ".log", "")))
			}
			out := json.NewEncoder(a.out)
			found := []map[string]any{}
			for _, l := range lines {
				if l.T < from || to > 0 && l.T > to || file != "" && l.File != file+".log" || !pattern.MatchString(l.Text) {
					continue
				}
				switch {
				case bulk:
					at := facts.Run.Started.Add(time.Duration(l.T * float64(time.Second)))
					err = out.Encode(map[string]any{"create": map[string]any{"_index": "livedrill-" + facts.Run.ID}})
					if err == nil {
						err = out.Encode(map[string]any{"@timestamp": at.UTC().Format(time.RFC3339Nano), "t": l.T, "process": l.File, "message": l.Text, "run": facts.Run.ID})
					}
				case asJSON:
					found = append(found, map[string]any{"t": l.T, "process": l.File, "message": l.Text})
				default:
					_, err = fmt.Fprintf(a.out, "%8.3f  %-24s  %s\n", l.T, l.File, reports.Visible(l.Text))
				}
				if err != nil {
					return internal(err)
				}
			}
			if asJSON {
				return a.writeJSON(found)
			}
			return nil
		}}
	c.Flags().StringVar(&match, "match", "", "only lines that this regular expression finds something in")
	c.Flags().StringVar(&file, "process", "", "only this process, as in gateway")
	c.Flags().Float64Var(&from, "from", 0, "seconds from the run's start")
	c.Flags().Float64Var(&to, "to", 0, "seconds from the run's start; 0: to the end")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&bulk, "bulk", false, "print what Elasticsearch's bulk interface takes")
	c.MarkFlagsMutuallyExclusive("json", "bulk")
	return c
}
