//go:build linux

package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/loadgen"
	loadkinds "github.com/livedrill/livedrill/loadgen/kinds"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/stack"
)

// serve runs one component of the bundled platform. It is started by the range.
func (a *app) serve() *cobra.Command {
	var config string
	c := &cobra.Command{Use: "serve KIND --config FILE", Short: "Run one component of the bundled platform (used by the range)",
		Hidden: true, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			kind, ok := stack.FindKind(args[0])
			if args[0] == disk.Kind {
				kind, ok = stack.Kind{Serve: disk.Serve}, true
			}
			if !ok {
				return usage(fmt.Errorf("no component of kind %q", args[0]))
			}
			cfg, err := target.ReadConfig(config)
			if err != nil {
				return usage(err)
			}
			if err := kind.Serve(c.Context(), cfg); err != nil {
				return internal(err)
			}
			return nil
		}}
	c.Flags().StringVar(&config, "config", "", "the component's configuration")
	_ = c.MarkFlagRequired("config") // the flag is there
	return c
}

// worker makes the load of one workload in one region. It is started by the range.
func (a *app) worker() *cobra.Command {
	var file string
	c := &cobra.Command{Use: "worker --spec FILE", Short: "Make one load (used by the range)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := os.ReadFile(file)
			if err != nil {
				return usage(err)
			}
			spec, settings, err := loadgen.ReadSpec(text)
			if err != nil {
				return usage(err)
			}
			kind, ok := loadkinds.Find(spec.Kind)
			if !ok {
				return usage(fmt.Errorf("no load of kind %q", spec.Kind))
			}
			generator := kind.Default()
			if err := json.Unmarshal(settings, generator); err != nil {
				return usage(fmt.Errorf("settings of %s: %w", spec.Name, err))
			}
			if err := loadgen.Work(c.Context(), spec, generator); err != nil {
				return internal(err)
			}
			return nil
		}}
	c.Flags().StringVar(&file, "spec", "", "the worker's spec")
	_ = c.MarkFlagRequired("spec") // the flag is there
	return c
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
