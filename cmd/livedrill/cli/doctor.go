//go:build linux

package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/injectors"
	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports/documents"
	"github.com/livedrill/livedrill/scenarios"
)

// finding is one thing that the machine can or cannot do.
type finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	How  string `json:"how"`            // the back end, or the version
	Mend string `json:"mend,omitempty"` // what would help
}

func (a *app) doctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "doctor", Short: "Say what this machine can do, and how to mend what it cannot", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := examine(c.Context())
			if err != nil {
				return internal(err)
			}
			if asJSON {
				return a.writeJSON(all)
			}
			t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			for _, f := range all {
				state := "ok"
				if !f.OK {
					state = "no"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", state, f.What, f.How, f.Mend)
			}
			if err := t.Flush(); err != nil {
				return internal(err)
			}
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// examine tries everything that a drill needs; what it makes for that it takes away again.
func examine(ctx context.Context) ([]finding, error) {
	var out []finding
	user := finding{What: "root", OK: os.Geteuid() == 0, How: "drills run in a user namespace"}
	if user.OK {
		user.How = "everything is allowed"
	}
	out = append(out, user)
	for program, pkg := range sortedPairs(scenarios.Packages) {
		_, err := exec.LookPath(program)
		f := finding{What: program, OK: err == nil, How: "package " + pkg}
		if !f.OK {
			f.Mend = "apt-get install " + pkg
		}
		out = append(out, f)
	}
	browser := finding{What: "chromium", OK: documents.Browser() != "", How: "for reports as PDF, and for nothing else"}
	if !browser.OK {
		browser.Mend = "apt-get install chromium"
	}
	out = append(out, browser)
	try, err := scenarios.Try(ctx)
	rangeFinding := finding{What: "range", OK: try.Err == "", How: "PID, network, mount and, without root, user namespaces"}
	rangeFinding.Mend = try.Err
	out = append(out, rangeFinding)
	group := finding{What: "cgroups", OK: try.Group.Version > 0, How: fmt.Sprintf("version %d", try.Group.Version)}
	if !group.OK {
		group.How, group.Mend = "none: encoders are slowed by stopping and continuing them", try.Group.Reason
	}
	out = append(out, group)
	missing := scenarios.MissingPrograms()
	for _, k := range faultkinds.All {
		f := finding{What: k.Name, OK: true, How: backEnds(k, scenarios.Card() != nil, group.OK)}
		if k.On != "" {
			f.How += " (not tried: it needs a running " + strings.ReplaceAll(k.On, ", ", " or ") + ")"
		}
		if problem := try.Faults[k.Name]; problem != "" {
			f.OK, f.Mend = false, problem
		}
		if k.On != "" && len(missing) > 0 {
			f.OK, f.Mend = false, "there is no platform to do it to without "+strings.Join(missing, ", ")
		}
		if try.Err != "" {
			f.OK, f.Mend = false, "there is no range to do it in"
		}
		out = append(out, f)
	}
	return out, err
}

// backEnds are the means by which a fault acts here: those of cards where there is one, and of cgroups, or what takes their place.
func backEnds(k injectors.Kind, card, cgroups bool) string {
	here := slices.DeleteFunc(slices.Clone(k.BackEnds), func(b string) bool {
		return (b == "nvml" || b == "nvenc") && !card || b == "cgroup" && !cgroups && len(k.BackEnds) > 1 || b == "duty-cycle" && cgroups
	})
	return strings.Join(here, " or ")
}

func sortedPairs(m map[string]string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for _, k := range sortedKeys(m) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
