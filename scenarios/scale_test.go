package scenarios

import (
	"strings"
	"testing"
)

// TestScaledFaultsDoNotOverlap refuses a scale at which one fault of a link would begin in the middle of the other's proof.
func TestScaledFaultsDoNotOverlap(t *testing.T) {
	text := []byte(`
name: twice
load: {shop: {kind: http}}
faults:
  - {at: 0s, for: 20s, inject: network.loss, on: edge-north}
  - {at: 24s, for: 20s, inject: network.partition, on: edge-north}
  - {at: 24s, for: 20s, inject: network.partition, on: edge-south}
objectives: [api_error_ratio <= 1%]
`)
	for scale, want := range map[float64]string{2: "", 1: "", 0.8: "", 0.5: "--time-scale 0.5: f2 overlaps with f1, network.loss on the same component: both need its packets"} {
		_, err := Orders{File: "twice.yaml", Text: text, TimeScale: scale}.Resolve()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "f3")) {
			t.Errorf("%g: %v, want %q", scale, err, want)
		}
	}
}
