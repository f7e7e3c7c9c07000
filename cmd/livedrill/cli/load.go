package cli

import "github.com/spf13/cobra"

func (a *app) load() *cobra.Command { return &cobra.Command{Use: "load"} }
