//go:build linux

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	loadkinds "github.com/livedrill/livedrill/loadgen/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/documents"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/scenarios"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/stack"
)

// listed is one line of a list. Faults and loads have settings, faults back ends too.
type listed struct {
	Name     string              `json:"name"`
	Summary  string              `json:"summary"`
	Kind     string              `json:"kind,omitempty"`
	Region   string              `json:"region,omitempty"`
	Ports    map[string]int      `json:"ports,omitempty"` // by protocol
	Where    string              `json:"where,omitempty"`
	Unit     string              `json:"unit,omitempty"`
	BackEnds []string            `json:"back_ends,omitempty"`
	Labels   []string            `json:"labels,omitempty"`
	Settings []scenarios.Setting `json:"settings,omitempty"`
}

// lists are what can be listed, by name.
var lists = map[string]func() ([]listed, error){
	"scenarios": func() ([]listed, error) {
		var out []listed
		for _, name := range scenarios.Names() {
			file, text, err := scenarios.Read(name)
			if err != nil {
				return nil, err
			}
			s, err := scenarios.Parse(file, text, nil)
			if err != nil {
				return nil, err
			}
			out = append(out, listed{Name: s.Name, Summary: s.Summary, Kind: s.Cause})
		}
		return out, nil
	},
	"faults": func() ([]listed, error) {
		var out []listed
		for _, k := range faultkinds.All {
			out = append(out, listed{Name: k.Name, Summary: k.Summary, Where: k.Where(), BackEnds: k.BackEnds,
				Settings: scenarios.SettingsOf(k.Default())})
		}
		return out, nil
	},
	"loads": func() ([]listed, error) {
		var out []listed
		for _, k := range loadkinds.All {
			out = append(out, listed{Name: k.Name, Summary: k.Summary, Settings: scenarios.SettingsOf(k.Default())})
		}
		return out, nil
	},
	"components": func() ([]listed, error) {
		var out []listed
		for _, c := range stack.Targets() {
			kind, ok := stack.FindKind(c.Kind)
			if !ok {
				kind.Summary = "a region's viewers: a link for faults of the network"
			}
			out = append(out, listed{Name: c.Name, Summary: kind.Summary, Kind: c.Kind, Region: c.Region, Ports: kind.Ports})
		}
		return out, nil
	},
	"defences": func() ([]listed, error) {
		var out []listed
		for _, d := range target.AllDefences {
			out = append(out, listed{Name: d.Name, Summary: d.Summary, Where: d.Where})
		}
		return out, nil
	},
	"reports": func() ([]listed, error) {
		var out []listed
		for _, f := range documents.Formats {
			out = append(out, listed{Name: f.Name, Summary: f.Summary})
		}
		return out, nil
	},
	"metrics": func() ([]listed, error) {
		var out []listed
		for _, m := range record.Catalogue {
			out = append(out, listed{Name: m.Name, Summary: m.Help, Kind: m.Type, Labels: nonEmpty(strings.Split(m.Labels, ",")...)})
		}
		return out, nil
	},
	"slis": func() ([]listed, error) {
		var out []listed
		for _, s := range reports.SLIs {
			out = append(out, listed{Name: s.Name, Summary: s.Definition, Unit: s.Unit})
		}
		return out, nil
	},
}

// ports are the protocols that a component speaks, each with its port.
func ports(of map[string]int) (out []string) {
	for _, name := range sortedKeys(of) {
		out = append(out, fmt.Sprintf("%s:%d", name, of[name]))
	}
	return out
}

func (a *app) list() *cobra.Command {
	var asJSON, asMarkdown bool
	names := sortedKeys(lists)
	c := &cobra.Command{Use: "list " + strings.Join(names, "|"), Short: "List what there is",
		ValidArgs: names, Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(names, args[0]) {
				return fmt.Errorf("list what? There are %s", strings.Join(names, ", "))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			items, err := lists[args[0]]()
			if err != nil {
				return internal(err)
			}
			switch {
			case asJSON:
				return a.writeJSON(items)
			case asMarkdown:
				if _, err := io.WriteString(a.out, reference(args[0], items)); err != nil {
					return internal(err)
				}
				return nil
			}
			t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			for _, i := range items {
				fmt.Fprintf(t, "%s\t%s\t%s\n", i.Name, i.Summary, strings.Join(slices.Concat(i.BackEnds, nonEmpty(i.Kind, i.Region, i.Where, i.Unit), i.Labels, ports(i.Ports)), " "))
				for _, s := range i.Settings {
					fmt.Fprintf(t, "  %s\t%s\tdefault %s\n", s.Name, s.Help, s.Default)
				}
			}
			if err := t.Flush(); err != nil {
				return internal(err)
			}
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&asMarkdown, "markdown", false, "print a reference page")
	c.MarkFlagsMutuallyExclusive("json", "markdown")
	return c
}

// reference is a list as a page of Markdown.
func reference(name string, items []listed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nWritten by `livedrill list %s --markdown`.\n", strings.ToUpper(name[:1])+name[1:], name)
	for _, i := range items {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", i.Name, strings.ToUpper(i.Summary[:1])+strings.TrimSuffix(i.Summary[1:], "."))
		if about := slices.Concat(nonEmpty(i.Kind, i.Region, i.Where, i.Unit), i.BackEnds, i.Labels); len(about) > 0 {
			fmt.Fprintf(&b, "(%s)\n", strings.Join(about, ", "))
		}
		if len(i.Settings) == 0 {
			continue
		}
		b.WriteString("\n| setting | default | unit | |\n|---|---|---|---|\n")
		for _, s := range i.Settings {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.Name, s.Default, s.Unit, strings.ReplaceAll(s.Help, "|", "\\|"))
		}
	}
	return b.String()
}

func nonEmpty(texts ...string) []string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}
