//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/scenarios"
)

func (a *app) inject() *cobra.Command {
	var on, name string
	var with []string
	var hold time.Duration
	var asJSON bool
	c := &cobra.Command{Use: "inject KIND --on COMPONENT", Short: "Inject one fault into a kept range by hand",
		Long: "Inject puts one fault on a component of a range that livedrill target up keeps, proves it, holds it, and restores.\n" +
			"Ctrl-C restores at once. Settings are given as --with NAME=VALUE; livedrill list faults shows them.\n\n" +
			"Exit codes: 0 it bit and is restored, 2 bad usage, 4 it could not be proven, 5 not restored, 130 Ctrl-C.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeFaults,
		RunE: func(c *cobra.Command, args []string) error {
			settings, err := faultSettings(args[0], with)
			if err != nil {
				return usage(err)
			}
			if hold < time.Second || hold > time.Hour {
				return usage(fmt.Errorf("--for %s: is not between 1s and 1h", hold))
			}
			s, err := scenarios.FindRange(name)
			if err != nil {
				return usage(err)
			}
			return a.injectOn(c.Context(), s, scenarios.InjectOrder{Kind: args[0], On: on, For: hold, Settings: settings, By: scenarios.Actor()}, asJSON)
		}}
	c.Flags().StringVar(&on, "on", "", "component")
	c.Flags().StringVar(&name, "name", "default", "name of the range")
	c.Flags().StringArrayVar(&with, "with", nil, "a setting, as in loss=20%")
	c.Flags().DurationVar(&hold, "for", 10*time.Second, "how long")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.MarkFlagRequired("on") // the flag is there
	return c
}

func completeFaults(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return faultNames(), cobra.ShellCompDirectiveNoFileComp
}

func faultNames() (names []string) {
	for _, k := range faultkinds.All {
		names = append(names, k.Name)
	}
	return names
}

// faultSettings turns NAME=VALUE pairs into a fault's settings, checked.
func faultSettings(kind string, with []string) (json.RawMessage, error) {
	k, ok := faultkinds.Find(kind)
	if !ok {
		return nil, fmt.Errorf("no fault %q%s: livedrill list faults shows all", kind, reports.Nearest(kind, faultNames()))
	}
	values := map[string]string{}
	for _, w := range with {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("--with %s: write it as NAME=VALUE", w)
		}
		values[key] = value
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	if err := scenarios.ReadSettings(text, k.Default()); err != nil {
		return nil, fmt.Errorf("--with %s", strings.ReplaceAll(err.Error(), "\n", "\n--with "))
	}
	return text, nil
}

func (a *app) injectOn(ctx context.Context, s scenarios.State, o scenarios.InjectOrder, asJSON bool) error {
	// The request outlives the first Ctrl-C: the range is asked to restore, and its answer says whether it could.
	waiting, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	stop := context.AfterFunc(ctx, func() {
		fmt.Fprintln(a.err, "restoring")
		if _, err := ask(waiting, s, http.MethodPost, "/restore", nil); err != nil {
			leave() // closing the connection makes the range restore too
		}
	})
	defer stop()
	go func() {
		select {
		case <-a.now:
			leave()
		case <-waiting.Done():
		}
	}()
	answer, err := ask(waiting, s, http.MethodPost, "/inject", o)
	if waiting.Err() != nil {
		return exitError{exitInterrupted, errors.New("left; the range restores the fault")}
	}
	if err != nil {
		return usage(err)
	}
	var result scenarios.InjectResult
	if err := json.Unmarshal(answer, &result); err != nil {
		return internal(err)
	}
	if result.State == "not-restored" && result.Mend == "" { // what it changed ends with the range
		result.Mend = "livedrill target down --name " + s.Name
	}
	if asJSON {
		err = a.writeJSON(result)
	} else {
		_, err = fmt.Fprintf(a.out, "%s on %s by %s: asked %s; measured %s (n %d); after %s: %s %s\n", result.Kind, result.On, result.BackEnd,
			values(result.Asked), values(result.Measured), result.N, values(result.After), result.State, result.Error)
	}
	if result.Faded != "" {
		fmt.Fprintf(a.err, "at its end it was not in effect any more: %s\n", result.Faded)
	}
	switch {
	case err != nil:
		return internal(err)
	case result.State != "not-restored" && ctx.Err() != nil:
		return exitError{exitInterrupted, nil}
	case result.State == "restored":
		return nil
	case result.State == "not-restored":
		return exitError{5, fmt.Errorf("%s\nby hand: %s", result.Error, result.Mend)}
	default:
		return exitError{4, fmt.Errorf("%s was not seen to take effect", result.Kind)}
	}
}
