//go:build linux

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/scenarios"
	"github.com/livedrill/livedrill/target"
)

func (a *app) respond() *cobra.Command {
	c := &cobra.Command{Use: "respond", Short: "Take part in a drill that goes on, as one who is on call", Args: cobra.NoArgs,
		Long: `Respond tells the drill that goes on in another terminal what its responders do, by its clock. The report gives each fault
its time to acknowledge and to the right cause, scores the causes that were named, and says which of the scenario's limits
(sla: judgement, cause, handling) were passed.`,
		Example: `  livedrill respond acknowledge RedisFull
  livedrill respond cause redis.oom --on redis --text "writes are refused, reads are not"
  livedrill respond defend redis-fallback --text "as the runbook says"
  livedrill respond action "called the network people"`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var m reports.Remark
	var run string
	say := func(what string) func(*cobra.Command, []string) error {
		return func(c *cobra.Command, args []string) error {
			m.What = what
			switch what {
			case reports.SaidAcknowledge:
				if len(args) > 0 {
					if m.Alert = args[0]; m.Alert == "" {
						return usage(errors.New("acknowledge: the alert has no name; without one, it is of whatever there is"))
					}
				}
			case reports.SaidCause:
				if _, err := faultSettings(args[0], nil); err != nil {
					return usage(err)
				}
				m.Fault = args[0]
			case reports.SaidDefend:
				m.Defence = args[0]
			case reports.SaidAction:
				m.Text = strings.Join(args, " ")
			}
			if m.By == "" {
				m.By = scenarios.Actor()
			}
			s, err := scenarios.FindRun(run)
			if err != nil {
				return usage(err)
			}
			answer, err := ask(c.Context(), s, http.MethodPost, "/remark", m)
			if errors.Is(err, errFailed) {
				return internal(err)
			}
			if err != nil {
				return usage(err)
			}
			if err := json.Unmarshal(answer, &m); err != nil {
				return internal(err)
			}
			text := fmt.Sprintf("%s: %s at %.1f s", s.ID, strings.TrimSpace(m.What+" "+m.Alert), m.At)
			if m.Done != nil {
				text += fmt.Sprintf(", done at %.1f s", *m.Done)
			}
			if _, err := fmt.Fprintln(a.out, text); err != nil {
				return internal(err)
			}
			return nil
		}
	}
	acknowledge := &cobra.Command{Use: "acknowledge [ALERT]", Short: "Say that somebody is on it: on one alert, or on whatever there is", Args: cobra.MaximumNArgs(1), RunE: say(reports.SaidAcknowledge)}
	cause := &cobra.Command{Use: "cause KIND --on COMPONENT", Short: "Name the cause", Args: cobra.ExactArgs(1), RunE: say(reports.SaidCause), ValidArgsFunction: completeFaults}
	cause.Flags().StringVar(&m.On, "on", "", "component")
	_ = cause.MarkFlagRequired("on") // the flag is there
	action := &cobra.Command{Use: "action TEXT", Short: "Say what was done", Args: cobra.MinimumNArgs(1), RunE: say(reports.SaidAction)}
	defend := &cobra.Command{Use: "defend DEFENCE", Short: "Turn a defence on, one component after the other", Args: cobra.ExactArgs(1), RunE: say(reports.SaidDefend),
		ValidArgsFunction: func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
			for _, d := range target.AllDefences {
				names = append(names, d.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}}
	for _, sub := range []*cobra.Command{acknowledge, cause, defend} {
		sub.Flags().StringVar(&m.Text, "text", "", "what there is to say to it")
	}
	c.PersistentFlags().StringVar(&m.By, "as", "", "who says so (default: you)")
	c.PersistentFlags().StringVar(&run, "run", "", "id of the run, where several go on")
	c.AddCommand(acknowledge, cause, action, defend)
	return c
}
