package cli

import "github.com/spf13/cobra"

func (a *app) recover() *cobra.Command { return &cobra.Command{Use: "recover"} }
