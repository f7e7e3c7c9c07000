package documents

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// writeZabbix gives the run's numbers in the input form of zabbix_sender, for `zabbix_sender -z SERVER -T -i FILE`: host, key, Unix
// time, value. Every curve of the report is there reading by reading, and the result as of the run's end. The host in Zabbix is
// livedrill-SCENARIO, and its items are trapper items.
func writeZabbix(w io.Writer, d Document) error {
	out := bufio.NewWriter(w)
	host := quoted("livedrill-" + d.Run.Scenario)
	line := func(key string, args []string, t, v float64) {
		for i, a := range args {
			args[i] = `"` + strings.ReplaceAll(a, `"`, `\"`) + `"` // a quoted parameter of an item key
		}
		at := d.Run.Started.Add(durationOf(t)).Unix()
		_, _ = fmt.Fprintf(out, "%s %s %d %g\n", host, quoted("livedrill."+key+"["+strings.Join(args, ",")+"]"), at, v) // Flush tells
	}
	for _, c := range d.Charts {
		for _, s := range c.Series {
			for _, p := range s.Points {
				line("curve", []string{c.ID, s.Name}, p.T, p.V)
			}
		}
	}
	end := d.Run.Duration
	whole := d.Whole()
	for _, s := range reports.SLIs {
		for _, point := range []string{"value", "p50", "p95", "p99"} {
			if v := whole[s.Name][point]; v != nil {
				line("sli", []string{s.Name, point}, end, *v)
			}
		}
	}
	for _, o := range d.Objectives {
		code := slices.Index([]reports.Verdict{reports.Missed, reports.Met, reports.NotProvable, reports.NotMeasured, reports.Invalid}, o.Verdict)
		line("objective", []string{o.Name}, end, float64(code)) // 0 missed, 1 met, 2 not provable, 3 not measured, 4 invalid
	}
	line("exit", nil, end, float64(d.ExitCode()))
	return out.Flush()
}

// quoted is one field of zabbix_sender's input.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}
