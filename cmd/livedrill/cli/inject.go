package cli

import "github.com/spf13/cobra"

func (a *app) inject() *cobra.Command { return &cobra.Command{Use: "inject"} }
