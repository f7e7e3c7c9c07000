package cli

import "github.com/spf13/cobra"

// commands are all commands.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{a.run(), a.plan(), a.list(), a.load(), a.inject(), a.respond(), a.target(), a.recover(), a.report(), a.gate(), a.history(), a.logs(), a.doctor(),
		a.serve(), a.worker(), a.inside()}
}

// gates are the commands below gate.
func (a *app) gates() []*cobra.Command {
	return []*cobra.Command{a.gateRun(), a.gateSplit(), a.gateSave(), a.gateCheck()}
}
