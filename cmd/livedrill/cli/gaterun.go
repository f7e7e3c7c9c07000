//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports/gate"
	"github.com/livedrill/livedrill/scenarios"
)

// side is one of the two versions that gate run compares.
type side struct {
	name    string
	program string
	args    []string // of livedrill run, beside scenario and directory
}

// parseSide reads NAME=VALUE pairs: bin is another livedrill, profile and seed are flags of run, anything else changes the
// scenario.
func parseSide(name, text string) (side, error) {
	s := side{name: name, program: "/proc/self/exe"}
	for _, pair := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case pair == "":
		case !ok || key == "":
			return s, fmt.Errorf("--%s %s: write it as NAME=VALUE,NAME=VALUE", name, text)
		case key == "bin":
			path, err := filepath.Abs(value)
			if err != nil {
				return s, err
			}
			if _, err := os.Stat(path); err != nil {
				return s, fmt.Errorf("--%s: %w", name, err)
			}
			s.program = path
		case key == "profile", key == "seed":
			s.args = append(s.args, "--"+key, value)
		default:
			s.args = append(s.args, "--set", pair)
		}
	}
	return s, nil
}

func (a *app) gateRun() *cobra.Command {
	var specA, specB, out string
	var rounds int
	var scale float64
	var faults, asJSON bool
	var write, only []string
	c := &cobra.Command{Use: "run NAME|FILE --a WHAT --b WHAT", Short: "Run two versions in turns on this machine, and compare them as pairs",
		Long: `Run makes the runs itself, in turns (a b, b a, a b, ...), so that what the machine does to one it does to the other. A is the
baseline, b the candidate. WHAT is a list of NAME=VALUE: bin=PATH takes another livedrill, profile and seed are those of run,
anything else changes the scenario as run --set does; an empty WHAT is the scenario as it is.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios,
		RunE: func(c *cobra.Command, args []string) error {
			sides := [2]side{}
			var err error
			for i, spec := range []string{specA, specB} {
				if sides[i], err = parseSide([]string{"a", "b"}[i], spec); err != nil {
					return usage(err)
				}
			}
			if rounds < 2 || rounds > 1000 {
				return usage(fmt.Errorf("--rounds %d: is not between 2 and 1000", rounds))
			}
			if _, _, err := scenarios.Read(args[0]); err != nil {
				return usage(err)
			}
			if err := checkWrites(write, asJSON); err != nil {
				return err
			}
			metrics, err := gate.Pick(only)
			if err != nil {
				return usage(fmt.Errorf("--only: %w", err))
			}
			if out == "" {
				out = filepath.Join("runs", "gate-"+time.Now().Format("20060102-150405"))
			}
			common := []string{"run", args[0], "--time-scale", strconv.FormatFloat(scale, 'g', -1, 64)}
			if !faults {
				common = append(common, "--no-faults")
			}
			runs, err := a.rounds(c.Context(), sides, common, rounds, out)
			if err != nil {
				return err
			}
			return a.verdict(gate.Compare(runs[0], runs[1], true, metrics), write, asJSON)
		}}
	c.Flags().StringVar(&specA, "a", "", "the baseline")
	c.Flags().StringVar(&specB, "b", "", "the candidate")
	c.Flags().IntVar(&rounds, "rounds", 5, "pairs of runs")
	c.Flags().Float64Var(&scale, "time-scale", 1, "stretch (2) or shorten (0.5) the timeline")
	c.Flags().BoolVar(&faults, "faults", true, "inject the scenario's faults")
	c.Flags().StringVar(&out, "out", "", "folder of the runs (default runs/gate-TIME)")
	gateOutput(c, &write, &only, &asJSON)
	return c
}

// rounds makes the pairs.
func (a *app) rounds(ctx context.Context, sides [2]side, common []string, rounds int, out string) (runs [2][]gate.Run, err error) {
	for round := range rounds {
		for turn := range 2 {
			i := (round + turn) % 2 // who goes first changes: the second of a pair finds a warmer machine
			s := sides[i]
			dir := filepath.Join(out, fmt.Sprintf("%s-%03d", s.name, round+1))
			fmt.Fprintf(a.err, "round %d of %d: %s\n", round+1, rounds, s.name)
			if err := a.runSide(ctx, s, append(common, "--out", dir), dir); err != nil {
				return runs, err
			}
			loaded, err := gate.Load(ctx, []string{dir})
			if err != nil {
				return runs, usage(err)
			}
			runs[i] = append(runs[i], loaded...)
		}
	}
	return runs, nil
}

// runSide makes one run as a process of its own. A missed objective is a result like any other.
func (a *app) runSide(ctx context.Context, s side, args []string, dir string) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return usage(err)
	}
	cmd := exec.CommandContext(ctx, s.program, append(args, s.args...)...)
	cmd.Stderr = a.err
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C on the terminal comes to it once, from here
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	err := cmd.Run()
	if stop := interrupted(ctx); stop != nil {
		return stop
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) && (ended.ExitCode() == 3 || ended.ExitCode() == 4) {
		return nil
	}
	if ended != nil && ended.ExitCode() > 0 {
		return exitError{ended.ExitCode(), fmt.Errorf("%s ended with %d", s.name, ended.ExitCode())}
	}
	if err != nil {
		return exitError{exitInternal, fmt.Errorf("%s: %w", s.name, err)}
	}
	return nil
}
