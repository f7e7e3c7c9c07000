package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/livedrill/livedrill/loadgen/api"
)

// PlanFormats are the forms in which a plan can be written: for people, and its requests for JMeter and as a list for any other tool.
var PlanFormats = []string{"text", "jmx", "csv"}

// Export writes the scenario's requests for another load tool.
func (s Scenario) Export(ctx context.Context, w io.Writer, format string) error {
	var loads []api.Planned
	var others []string
	for _, l := range s.Load {
		if g, ok := l.Generator.(*api.Load); ok {
			loads = append(loads, api.Planned{Name: l.Name, Seed: s.Seed, For: s.Length(), Load: g})
		} else {
			others = append(others, fmt.Sprintf("%s (%s)", l.Name, l.Kind))
		}
	}
	if len(loads) == 0 {
		return errors.New("the scenario has no load of kind http, and other tools speak nothing else that it has")
	}
	if format == "csv" {
		return api.WriteTransactions(ctx, w, loads)
	}
	notes := fmt.Sprintf("%s\nAll regions, %s. Start it with -Jhost=HOST -Jport=PORT.", s.Summary, s.Length())
	if len(others) > 0 {
		notes += "\nNot in this plan: " + strings.Join(others, ", ")
	}
	if len(s.Faults) > 0 {
		notes += fmt.Sprintf("\nNor are its %d faults.", len(s.Faults))
	}
	return api.WriteJMeter(w, s.Name, notes, loads)
}
