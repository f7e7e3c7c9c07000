package cli

import "github.com/spf13/cobra"

func (a *app) target() *cobra.Command { return &cobra.Command{Use: "target"} }
