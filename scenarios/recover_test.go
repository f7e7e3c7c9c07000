package scenarios

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// TestRestoreLasting goes through a journal with a fault that ended with its range, one that nobody knows, and one of a card that is not there: each
// is dealt with for itself, and what cannot be put back says how it is done by hand.
func TestRestoreLasting(t *testing.T) {
	absent := 99
	on := target.Component{Name: "transcode", Handles: target.Handles{Encoder: &target.Encoder{GPU: &absent}}}
	r := &Recovered{}
	for _, c := range []struct{ kind, was, want string }{
		{"network.loss", `{}`, ""},
		{"network.loss", `{}`, ""},
		{"nobody.knows", `{}`, "does not know"},
		{"gpu.throttle", `{"card": true, "power_mw": 250000}`, "by hand: nvidia-smi --id=99 --power-limit=250"},
	} {
		err := r.restore(t.Context(), injectors.Entry{Kind: c.kind, On: on, Settings: json.RawMessage(`{}`), Was: injectors.Original(c.was)})
		if err == nil && c.want != "" || err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.kind, err, c.want)
		}
	}
	if len(r.Did) != 1 || r.Did[0] != "network.loss on transcode ended with its range" {
		t.Errorf("it did %q", r.Did)
	}
}
