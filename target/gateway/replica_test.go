package gateway

import "testing"

// TestNumber orders positions of the log, and puts what is none above all: nobody is read from a replica for it.
func TestNumber(t *testing.T) {
	order := []string{"", "0-1-9", "0-1-10", "0-1-11", "unknown"}
	for i := range order[1:] {
		if number(order[i]) >= number(order[i+1]) {
			t.Errorf("%q is not before %q", order[i], order[i+1])
		}
	}
}
