// Livedrill rehearses the bad days of a live-streaming platform.
package main

import (
	"context"
	"os"

	"github.com/livedrill/livedrill/cmd/livedrill/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
