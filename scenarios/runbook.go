package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target"
)

// Rule is one line of a runbook: what is done by itself when an objective is missed while the run goes on.
type Rule struct {
	When   string   `json:"when" help:"name of an objective; the rule acts when the last seconds have missed it for certain, once in a run"`
	TurnOn string   `json:"turn-on,omitempty" help:"defence"`
	Run    []string `json:"run,omitempty" help:"or a program of your own and its arguments: it runs in the range, and reads the platform (JSON) from its standard input"`
}

// does says in words what a rule does.
func (r Rule) does() string {
	if len(r.Run) > 0 {
		return "run " + strings.Join(r.Run, " ")
	}
	return "turn on " + r.TurnOn
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
		if len(r.Run) > 0 && r.TurnOn != "" {
			d.problem(n.Content[i], at, "a rule turns on a defence or runs a program, not both")
		} else if len(r.Run) > 0 {
			path, err := exec.LookPath(r.Run[0])
			if err == nil {
				path, err = filepath.Abs(path)
			}
			if err != nil {
				d.problem(n.Content[i], join(at, "run"), "%v", err)
			}
			rules[i].Run[0] = path
		} else if _, err := target.ProfileDefences(target.Profiles[0], map[string]bool{r.TurnOn: true}); err != nil {
			d.problem(n.Content[i], join(at, "turn-on"), "%v", err)
		}
	}
	return rules
}

// runbook looks every second for rules whose objective is missed, and follows them, until ctx ends. What it returns is closed when it has
// stopped.
func (d *drill) runbook(ctx context.Context) <-chan struct{} {
	over := make(chan struct{})
	guards := map[int]*reports.Guard{}
	for i, r := range d.story.Runbook {
		at := slices.IndexFunc(d.story.Objectives, func(o reports.Objective) bool { return o.Name == r.When })
		guards[i] = reports.NewGuard(d.facts.Run, d.story.Objectives[at:at+1], d.db)
	}
	go func() {
		defer close(over)
		var programs sync.WaitGroup
		defer programs.Wait()
		for len(guards) > 0 && target.Wait(ctx, time.Second) {
			for i, r := range d.story.Runbook {
				if guards[i] == nil {
					continue
				}
				why, err := guards[i].Broken(ctx, time.Now(), d.now)
				if err != nil && ctx.Err() == nil {
					delete(guards, i)
					d.problem("runbook: %v", err)
				}
				if why == "" {
					continue
				}
				delete(guards, i)
				if len(r.Run) > 0 { // which may take its time
					programs.Go(func() { d.program(ctx, i, r, why) })
					continue
				}
				m := reports.Remark{By: reports.Runbook, What: reports.SaidDefend, Defence: r.TurnOn, Text: why}
				_ = d.defend(ctx, &m) // what came of it is taken down
			}
		}
	}()
	return over
}

// program runs a rule's program in the range, for as long as the recovery may take. It is no shell's: its arguments are what they are. What
// it says is in the run's logs, and when it was over among what people did.
func (d *drill) program(ctx context.Context, i int, r Rule, why string) {
	m := reports.Remark{At: *d.seconds(time.Now()), By: reports.Runbook, What: reports.SaidProgram, Program: filepath.Base(r.Run[0]), Text: why}
	place, err := d.take(m)
	if err != nil {
		return // the drill is over
	}
	if err = d.carryOut(ctx, fmt.Sprintf("runbook-%d", i+1), r); err == nil {
		m.Done = d.seconds(time.Now())
	} else {
		m.Text += " failed: " + err.Error()
	}
	d.know(func(f *reports.Facts) { f.Remarks[place] = m })
	d.say("responder.done", m)
}

func (d *drill) carryOut(ctx context.Context, name string, r Rule) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d.story.SLA.RTO*float64(time.Second)))
	defer cancel()
	platform, err := json.Marshal(d.stack.Platform())
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(d.Dir, "logs", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, r.Run[0], r.Run[1:]...)
	cmd.Env = append(os.Environ(), "LIVEDRILL_RUN="+d.ID, "LIVEDRILL_OBJECTIVE="+r.When)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(platform), log, log, time.Second
	return errors.Join(cmd.Run(), log.Close())
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
