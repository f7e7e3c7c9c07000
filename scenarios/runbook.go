package scenarios

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target"
)

// Rule is one line of a runbook: what is done by itself when an objective is missed while the run goes on.
type Rule struct {
	When   string `json:"when" help:"name of an objective; the rule acts when the last seconds have missed it for certain, once in a run"`
	TurnOn string `json:"turn-on" help:"defence"`
}

// runbook checks rules against what there is to watch and to do.
func (d *decoder) runbook(n *yaml.Node, objectives []reports.Objective) (rules []Rule) {
	if n == nil {
		return nil
	}
	d.decode(n, reflect.ValueOf(&rules).Elem(), "runbook")
	var names []string
	for _, o := range objectives {
		names = append(names, o.Name)
	}
	for i, r := range rules {
		at := fmt.Sprintf("runbook[%d]", i)
		if !slices.Contains(names, r.When) {
			d.problem(n.Content[i], join(at, "when"), "no objective %q%s", r.When, reports.Nearest(r.When, names))
		}
		if _, err := target.ProfileDefences(target.Profiles[0], map[string]bool{r.TurnOn: true}); err != nil {
			d.problem(n.Content[i], join(at, "turn-on"), "%v", err)
		}
	}
	return rules
}

// runbook looks every second for rules whose objective is missed, and follows them, until ctx ends. What it returns is closed when it has
// stopped.
func (d *drill) runbook(ctx context.Context) <-chan struct{} {
	over := make(chan struct{})
	guards := map[Rule]*reports.Guard{}
	for _, r := range d.story.Runbook {
		i := slices.IndexFunc(d.story.Objectives, func(o reports.Objective) bool { return o.Name == r.When })
		guards[r] = reports.NewGuard(d.facts.Run, d.story.Objectives[i:i+1], d.db)
	}
	go func() {
		defer close(over)
		for len(guards) > 0 && target.Wait(ctx, time.Second) {
			for _, r := range d.story.Runbook {
				if guards[r] == nil {
					continue
				}
				why, err := guards[r].Broken(ctx, time.Now(), d.now)
				if err != nil && ctx.Err() == nil {
					delete(guards, r)
					d.problem("runbook: %v", err)
				}
				if why != "" {
					delete(guards, r)
					m := reports.Remark{By: reports.Runbook, What: reports.SaidDefend, Defence: r.TurnOn, Text: why}
					_ = d.defend(ctx, &m) // what came of it is taken down
				}
			}
		}
	}()
	return over
}

// defend turns a defence on in the running platform, for whoever asked for it. It is taken down before anything is done, and what came
// of it after.
func (d *drill) defend(ctx context.Context, m *reports.Remark) error {
	m.At = *d.seconds(time.Now())
	err := d.turnable(m.Defence)
	if err != nil {
		return err
	}
	place, err := d.take(*m)
	if err != nil {
		return err
	}
	if err = d.stack.TurnOn(ctx, m.Defence); err == nil {
		m.Done = d.seconds(time.Now())
	} else {
		m.Text = strings.TrimSpace(m.Text + " failed: " + err.Error())
	}
	d.know(func(f *reports.Facts) { f.Remarks[place] = *m })
	d.say("responder.done", *m)
	return err
}

// turnable refuses to start components again that have a fault in their processes: it would end with them, and be called restored.
func (d *drill) turnable(defence string) error {
	for _, name := range d.stack.Where(defence) {
		if kind := d.runner.Busy(name, "processes", "descriptors", "clock", "sessions"); kind != "" {
			return fmt.Errorf("%s is in the processes of %s, which would have to be started again", kind, name)
		}
	}
	return nil
}
