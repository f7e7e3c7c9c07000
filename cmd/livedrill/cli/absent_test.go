package cli

import (
	"errors"
	"strings"
	"testing"
)

// TestAbsent: on a system that is not Linux a command says so, whatever flags it is given.
func TestAbsent(t *testing.T) {
	for _, c := range absent("run", "load") {
		c.SetArgs([]string{"evening-peak", "--out", "x", "--help"})
		err := c.Execute()
		var known exitError
		if !errors.As(err, &known) || known.code != exitUsage || !strings.Contains(err.Error(), c.Name()+" needs Linux") {
			t.Errorf("%s: %v", c.Name(), err)
		}
	}
}
