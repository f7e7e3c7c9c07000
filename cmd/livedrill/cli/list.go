package cli

import "github.com/spf13/cobra"

func (a *app) list() *cobra.Command { return &cobra.Command{Use: "list"} }
