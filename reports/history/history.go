// Package history looks over all stored runs: how each number moves from run to run, where its level changed, and which
// actions of earlier reports nobody has proved done.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/stats"
)

// Book is what there is to say about all runs of a folder.
type Book struct {
	Runs    []Entry  `json:"runs"`
	Trends  []Trend  `json:"trends"`
	Targets []Target `json:"targets"`
	Actions []Action `json:"actions"`
	Skipped []string `json:"skipped"` // directories that could not be read, and why
}

// Entry is one run.
type Entry struct {
	ID       string          `json:"id"`
	Scenario string          `json:"scenario"`
	Profile  string          `json:"profile"`
	Started  time.Time       `json:"started"`
	Verdict  reports.Verdict `json:"verdict"`
	result   reports.Result
}

// Trend is one number over the runs of one scenario and profile.
type Trend struct {
	Scenario string    `json:"scenario"`
	Profile  string    `json:"profile"`
	Metric   string    `json:"metric"`
	Unit     string    `json:"unit"`
	Values   []float64 `json:"values"`
	Changes  []string  `json:"changes"` // ids of the first runs of a new level
	From     float64   `json:"from"`    // median before the last change, or of all
	To       float64   `json:"to"`      // median since
}

// Target is how often the runs of one scenario and profile kept the recovery time that was promised, and what that proves.
type Target struct {
	Scenario string  `json:"scenario"`
	Profile  string  `json:"profile"`
	RTO      float64 `json:"rto_s"`
	Runs     int     `json:"runs"`   // in which it is known
	Missed   int     `json:"missed"` // of them
	Most     float64 `json:"miss_ratio_high"`
}

// Action is an action of an earlier report, and whether a later run has proved it done.
type Action struct {
	reports.Action
	Since  string `json:"since"`            // run that asked for it
	Proved string `json:"proved,omitempty"` // run that proves it; empty: open
}

// Read reads the results of every run below dir. The numbers are those that were written when the run ended: nothing is judged
// again.
func Read(ctx context.Context, dir string) (Book, error) {
	b := Book{Runs: []Entry{}, Trends: []Trend{}, Targets: []Target{}, Actions: []Action{}, Skipped: []string{}}
	if _, err := os.ReadDir(dir); err != nil {
		return b, err
	}
	var paths []string
	for _, pattern := range []string{"*/result.json", "*/*/result.json"} { // a folder of runs, as gate run makes one, counts too
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return b, err
		}
		paths = append(paths, found...)
	}
	for _, path := range paths {
		if ctx.Err() != nil {
			return b, ctx.Err()
		}
		var r reports.Result
		text, err := reports.ReadDocument(filepath.Dir(path), "result.json")
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err == nil && r.Schema != reports.Schema {
			err = fmt.Errorf("schema %q is not %q", r.Schema, reports.Schema)
		}
		if err == nil && strings.ContainsFunc(r.Run.ID+r.Run.Scenario+r.Run.Profile+r.Verdict.String(), unicode.IsControl) {
			err = errors.New("its names have control characters in them")
		}
		if at := slices.IndexFunc(b.Runs, func(e Entry) bool { return e.ID == r.Run.ID }); err == nil && at >= 0 {
			err = fmt.Errorf("run %s is here already", r.Run.ID)
		}
		if err != nil {
			b.Skipped = append(b.Skipped, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		b.Runs = append(b.Runs, Entry{r.Run.ID, r.Run.Scenario, r.Run.Profile, r.Run.Started, r.Verdict, r})
	}
	slices.SortStableFunc(b.Runs, func(x, y Entry) int { return x.Started.Compare(y.Started) })
	b.trends()
	b.targets()
	b.actions()
	return b, nil
}

// trends follows every objective's number and every quantile of the whole run.
func (b *Book) trends() {
	type key struct{ scenario, profile, metric string } // profile with the time scale and without faults apart
	values, owners, units := map[key][]float64{}, map[key][]string{}, map[key]string{}
	var order []key
	add := func(e Entry, metric, unit string, v *float64) {
		if v == nil || math.Abs(*v) > 1e15 {
			return
		}
		k := key{e.Scenario, e.variant(), metric}
		if values[k] == nil {
			order = append(order, k)
			units[k] = unit
		}
		values[k], owners[k] = append(values[k], *v), append(owners[k], e.ID)
	}
	for _, e := range b.Runs {
		if e.Verdict == reports.Interrupted {
			continue
		}
		for _, o := range e.result.Objectives {
			add(e, o.Name, o.Unit, o.Measured)
		}
		if e.result.SLA != nil {
			add(e, "availability", "ratio", &e.result.SLA.InDrill.Value)
		}
		for _, r := range e.result.Responses {
			add(e, "RTO "+r.Fault, "seconds", r.RTO)
		}
		add(e, "platform cores", "cores", &e.result.Costs.StackCores)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, k := range order {
		t := Trend{Scenario: k.scenario, Profile: k.profile, Metric: k.metric, Unit: units[k], Values: values[k], Changes: []string{}}
		last := 0
		for _, at := range stats.ChangePoints(t.Values, rng) {
			t.Changes = append(t.Changes, owners[k][at])
			t.From, last = stats.Median(t.Values[last:at]), at
		}
		t.To = stats.Median(t.Values[last:])
		if last == 0 {
			t.From = t.To
		}
		b.Trends = append(b.Trends, t)
	}
}

// targets counts the runs that were whole again in the time that was promised. One that nobody saw hurt, and nobody could have, counts
// on neither side.
func (b *Book) targets() {
	for _, e := range b.Runs {
		if e.result.SLA == nil || e.result.SLA.Targets == nil || e.Verdict == reports.Interrupted {
			continue
		}
		rto, known, missed := e.result.SLA.Targets.RTO, len(e.result.Responses) > 0, false
		for _, r := range e.result.Responses {
			missed = missed || r.RTO != nil && *r.RTO > rto || r.RTO == nil && len(r.Hurt) > 0
			known = known && (r.RTO != nil || len(r.Hurt) > 0)
		}
		if !known {
			continue
		}
		at := slices.IndexFunc(b.Targets, func(t Target) bool { return t.Scenario == e.Scenario && t.Profile == e.variant() && t.RTO == rto })
		if at < 0 {
			at = len(b.Targets)
			b.Targets = append(b.Targets, Target{Scenario: e.Scenario, Profile: e.variant(), RTO: rto})
		}
		t := &b.Targets[at]
		if t.Runs++; missed {
			t.Missed++
		}
		t.Most = stats.MissBound(float64(t.Missed), float64(t.Runs))
	}
}

// variant tells runs of one scenario apart that cannot be held against each other.
func (e Entry) variant() string {
	text := e.Profile
	if scale := e.result.Run.TimeScale; scale != 1 {
		text += fmt.Sprintf(" ×%g", scale)
	}
	if len(e.result.Faults) == 0 {
		text += " without faults"
	}
	return text
}

// actions walks the runs in time: an action is open from the run that asked for it until a later run of the same scenario proves it done,
// under the same faults, as fast and as long, and against the same promise.
func (b *Book) actions() {
	for _, e := range b.Runs {
		for i := range b.Actions {
			a := &b.Actions[i]
			since, ok := b.find(a.Since)
			if ok && a.Proved == "" && a.Since != e.ID && since.Scenario == e.Scenario && comparable(since.result, e.result) && proves(since.result, e.result, a.Action) {
				a.Proved = e.ID
			}
		}
		for _, a := range e.result.Actions {
			known := slices.IndexFunc(b.Actions, func(x Action) bool { return x.ID == a.ID && x.Proved == "" })
			if known < 0 {
				b.Actions = append(b.Actions, Action{Action: a, Since: e.ID})
			}
		}
	}
}

func (b *Book) find(id string) (Entry, bool) {
	at := slices.IndexFunc(b.Runs, func(e Entry) bool { return e.ID == id })
	if at < 0 {
		return Entry{}, false
	}
	return b.Runs[at], true
}

// comparable tells whether a later run came to its end, in the same time, and had every fault of an earlier one, as hard, and proven: a
// control proves nothing about a fault, nor does a weaker one.
func comparable(before, after reports.Result) bool {
	if after.Verdict == reports.Interrupted || after.Verdict == reports.Unrestored || before.Run.TimeScale != after.Run.TimeScale {
		return false
	}
	for _, f := range before.Faults {
		if !slices.ContainsFunc(after.Faults, func(x reports.Fault) bool {
			return x.Kind == f.Kind && x.On == f.On && x.State == "restored" && maps.Equal(x.Asked, f.Asked) && lasted(x) >= 0.9*lasted(f)
		}) {
			return false
		}
	}
	return true
}

// lasted is how long a fault was there, in seconds.
func lasted(f reports.Fault) float64 {
	if f.Injected == nil || f.Restored == nil {
		return 0
	}
	return *f.Restored - *f.Injected
}

func proves(before, r reports.Result, a reports.Action) bool {
	if name, ok := strings.CutPrefix(a.Objective, "alert "); ok {
		return slices.ContainsFunc(r.Alerts, func(x reports.Alert) bool {
			return x.Name == name && (x.State == reports.AlertOK || x.State == reports.AlertSilent && x.Silent)
		})
	}
	if a.Objective == "" {
		// The fault itself was the finding, and it is restored here; and held, if nothing was to be said of its end.
		return !slices.ContainsFunc(r.Faults, func(f reports.Fault) bool { return f.Kind == a.Fault && f.Faded != "" })
	}
	return slices.ContainsFunc(r.Objectives, func(o reports.Judged) bool {
		return o.Name == a.Objective && o.Verdict == reports.Met && slices.ContainsFunc(before.Objectives, func(was reports.Judged) bool {
			return was.Name == o.Name && was.Op == o.Op && was.Threshold == o.Threshold
		})
	})
}

// Write prints the book for people.
func (b Book) Write(w io.Writer) error {
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "RUN\tSCENARIO\tPROFILE\tVERDICT\n")
	for _, e := range b.Runs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", e.ID, e.Scenario, e.Profile, e.Verdict)
	}
	fmt.Fprint(t, "\nMETRIC\tOF\tRUNS\tTREND\tLAST\tLEVEL\tCHANGED AT\n")
	for _, x := range b.Trends {
		level := reports.Quantity(&x.To, x.Unit)
		if len(x.Changes) > 0 {
			level = reports.Quantity(&x.From, x.Unit) + " → " + level
		}
		fmt.Fprintf(t, "%s\t%s on %s\t%d\t%s\t%s\t%s\t%s\n", x.Metric, x.Scenario, x.Profile, len(x.Values), spark(x.Values), reports.Quantity(&x.Values[len(x.Values)-1], x.Unit),
			level, strings.Join(x.Changes, ", "))
	}
	for i, x := range b.Targets {
		if i == 0 {
			fmt.Fprint(t, "\nRECOVERY WITHIN\tOF\tRUNS\tMISSED\tA MISS IS AT MOST (95 %)\n")
		}
		fmt.Fprintf(t, "%s\t%s on %s\t%d\t%d\t%s\n", reports.Span(time.Duration(x.RTO*float64(time.Second))), x.Scenario, x.Profile, x.Runs, x.Missed, reports.Percent(x.Most))
	}
	open := 0
	for _, a := range b.Actions {
		if a.Proved == "" {
			if open++; open == 1 {
				fmt.Fprint(t, "\nOPEN ACTION\tSINCE\tFINDING\tPROVED BY\n")
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", a.ID, a.Since, a.Finding, a.Proof)
		}
	}
	fmt.Fprintf(t, "\n%d actions, %d not proved done\n", len(b.Actions), open)
	for _, s := range b.Skipped {
		fmt.Fprintf(t, "skipped %s\n", s)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, reports.Visible(text.String())) // a name in a result may have been made to move a terminal's cursor
	return err
}

// spark draws the last values as bars.
func spark(v []float64) string {
	v = v[max(0, len(v)-24):]
	low, high := slices.Min(v), slices.Max(v)
	var b strings.Builder
	for _, x := range v {
		step := 0
		if share := (x - low) / (high - low); share >= 0 && share <= 1 {
			step = int(share * 7.999)
		}
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[step])
	}
	return b.String()
}
