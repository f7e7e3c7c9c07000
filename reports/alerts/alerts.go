// Package alerts runs Prometheus rule files over a stored run, by Prometheus' own code and on the run's own clock, and says
// when each alert was firing.
package alerts

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"github.com/livedrill/livedrill/reports/record"
)

// Core is the rule file that ships: processor, connections, cache hits with rising errors, rising push latency.
//
//go:embed core.yaml
var Core string

// CoreName is the name by which scenarios ask for Core.
const CoreName = "core"

// Rule is one alerting rule over the run.
type Rule struct {
	Name     string
	Severity string
	Expr     string
	For      time.Duration
	Firings  []Firing
	Pending  time.Duration // the longest time that it was pending
	Waiting  bool          // it was pending at the end
	Err      error         // its last evaluation that failed, or that of a rule before it in its group
}

// Firing is one stretch of time in which an alert with these labels was firing; a zero To is the end of the run.
type Firing struct {
	From, To time.Time
	Labels   string
}

// place is where Prometheus and its YAML reader say that a mistake is: "5:15: ..." or "line 9: ...", one for each line.
var place = regexp.MustCompile(`(?m)^(?:\s*line (\d+)|(\d+:\d+)): (.*)$`)

// Check reads a rule file and returns every mistake with its line, in Prometheus' own words.
func Check(name, text string) error {
	groups, found := rulefmt.Parse([]byte(text), false, model.UTF8Validation)
	var errs []error
	for _, err := range found {
		for _, m := range place.FindAllStringSubmatch(err.Error(), -1) {
			errs = append(errs, fmt.Errorf("%s:%s: %s", name, m[1]+m[2], m[3]))
		}
		if !place.MatchString(err.Error()) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if groups != nil {
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				if r.Record == "up" || strings.HasPrefix(r.Record, "livedrill_") || strings.HasPrefix(r.Record, "process_") {
					errs = append(errs, fmt.Errorf("%s: group %s: %s is a metric of the run's own: record it under another name", name, g.Name, r.Record))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// Names lists the alerts of rule files.
func Names(files map[string]string) []string {
	var out []string
	for _, text := range files {
		groups, _ := rulefmt.Parse([]byte(text), false, model.UTF8Validation)
		if groups == nil {
			continue
		}
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" && !slices.Contains(out, r.Alert) {
					out = append(out, r.Alert)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// interval is how often a group without an interval of its own is evaluated.
const interval = 5 * time.Second

// group is one group of rules on its way through the run.
type group struct {
	every  time.Duration
	next   time.Time
	rules  []rules.Rule
	watch  []*watched
	offset time.Duration
}

// watched is one alerting rule with what was seen of it.
type watched struct {
	rule   *rules.AlertingRule
	out    *Rule
	firing map[string]int // index of the open firing, by labels
}

// Evaluate runs the files' groups from one time to another. Groups are evaluated in the order of the files' names, each at its
// own interval; what a recording rule gives is there for the rules after it.
func Evaluate(ctx context.Context, db *record.Database, files map[string]string, from, to time.Time) ([]Rule, error) {
	groups, err := load(files, from)
	if err != nil {
		return nil, err
	}
	for len(groups) > 0 && ctx.Err() == nil {
		g := slices.MinFunc(groups, func(a, b *group) int { return a.next.Compare(b.next) })
		if g.next.After(to) {
			break
		}
		if err := g.evaluate(ctx, db, g.next); err != nil {
			return nil, err
		}
		g.next = g.next.Add(g.every)
	}
	var out []Rule
	for _, g := range groups {
		for _, w := range g.watch {
			out = append(out, *w.out)
		}
	}
	return out, nil
}

func load(files map[string]string, from time.Time) ([]*group, error) {
	var out []*group
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := Check(name, files[name]); err != nil {
			return nil, err
		}
		parsed, _ := rulefmt.Parse([]byte(files[name]), false, model.UTF8Validation)
		for _, pg := range parsed.Groups {
			g := &group{every: time.Duration(pg.Interval), next: from}
			if g.every <= 0 {
				g.every = interval
			}
			g.every = max(g.every, time.Second) // the record has a reading each second
			if pg.QueryOffset != nil {
				g.offset = time.Duration(*pg.QueryOffset)
			}
			for _, r := range pg.Rules {
				expr, err := parser.ParseExpr(r.Expr)
				if err != nil {
					return nil, fmt.Errorf("%s: group %s: %w", name, pg.Name, err)
				}
				own := labels.FromMap(merged(pg.Labels, r.Labels))
				if r.Record != "" {
					g.rules = append(g.rules, rules.NewRecordingRule(r.Record, expr, own))
					continue
				}
				alert := rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), time.Duration(r.KeepFiringFor), own,
					labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
				g.rules = append(g.rules, alert)
				g.watch = append(g.watch, &watched{rule: alert, firing: map[string]int{},
					out: &Rule{Name: r.Alert, Severity: own.Get("severity"), Expr: strings.TrimSpace(r.Expr), For: time.Duration(r.For)}})
			}
			out = append(out, g)
		}
	}
	return out, nil
}

func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

func (g *group) evaluate(ctx context.Context, db *record.Database, at time.Time) error {
	var broken error // as in Prometheus, a rule that fails is that rule's own trouble; here those after it say so, as they may need it
	for _, r := range g.rules {
		vector, err := r.Eval(ctx, g.offset, at, db.Query, &url.URL{}, 0)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = db.Add(ctx, vector, at)
		}
		if err != nil {
			broken = fmt.Errorf("rule %s: %w", r.Name(), err)
		}
		for _, w := range g.watch {
			if broken != nil && rules.Rule(w.rule) == r {
				w.out.Err = broken
			}
		}
	}
	for _, w := range g.watch {
		w.look(at)
	}
	return nil
}

// look notes which alerts of the rule are firing now.
func (w *watched) look(at time.Time) {
	now := map[string]bool{}
	w.out.Waiting = false
	w.rule.ForEachActiveAlert(func(a *rules.Alert) {
		key := labels.NewBuilder(a.Labels).Del("alertname").Labels().String()
		switch a.State {
		case rules.StateFiring:
			now[key] = true
		case rules.StatePending:
			w.out.Waiting = true
			w.out.Pending = max(w.out.Pending, at.Sub(a.ActiveAt))
		}
	})
	for key := range now {
		if _, open := w.firing[key]; !open {
			w.firing[key] = len(w.out.Firings)
			w.out.Firings = append(w.out.Firings, Firing{From: at, Labels: key})
		}
	}
	for key, i := range w.firing {
		if !now[key] {
			w.out.Firings[i].To = at
			delete(w.firing, key)
		}
	}
}
