//go:build !linux

package cli

import "github.com/spf13/cobra"

// commands are those that read what was recorded on another machine; the others say why they are not here.
func (a *app) commands() []*cobra.Command {
	return append([]*cobra.Command{a.report(), a.gate(), a.history(), a.logs()},
		absent("run", "plan", "list", "load", "inject", "respond", "target", "recover", "doctor")...)
}

// gates are the commands below gate.
func (a *app) gates() []*cobra.Command {
	return append([]*cobra.Command{a.gateSave(), a.gateCheck()}, absent("run", "split")...)
}
