package scenarios

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const surprising = `name: any-day
load: {chat: {kind: danmaku, rate: 10/s}}
faults:
  - {at: 0s, for: 5s, inject: network.loss, on: edge-south, with: {loss: 20%}}
surprise:
  faults: 4
  over: 80s
  of:
    - {weight: 38,  for: 15s, inject: network.loss, on: edge-north, with: {loss: 30%}}
    - {weight: 29,  for: 10s, inject: process.kill, on: gateway}
    - {weight: 22,  for: 10s, inject: redis.pause,  on: redis}
    - {weight: 11,  for: 10s, inject: gpu.throttle, on: transcode}
    - {weight: 0.5, for: 10s, inject: mysql.read-only, on: mariadb}
objectives:
  - api_error_ratio <= 1% during d2
`

// TestSurprise draws the same faults from the same seed and others from another, after the scenario's own, and never two at a time.
func TestSurprise(t *testing.T) {
	drawn := map[string]bool{}
	for seed := range uint64(5) {
		var first string
		for range 2 {
			s, err := Orders{File: "any.yaml", Text: []byte(surprising), Seed: &seed, TimeScale: 1}.Resolve()
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := s.WritePlan(&text); err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = text.String()
			}
			if text.String() != first {
				t.Errorf("seed %d gives\n%s\nand then\n%s", seed, first, &text)
			}
			if !strings.Contains(first, "network.loss on edge-north 37.8%") || !strings.Contains(first, "100.5 in all") {
				t.Errorf("the plan does not tell the chances:\n%s", first)
			}
			if len(s.Faults) != 5 {
				t.Fatalf("%d faults", len(s.Faults))
			}
			end := time.Duration(0)
			for i, f := range s.Faults {
				if f.At < end || i > 0 && f.ID != fmt.Sprintf("d%d", i) {
					t.Errorf("fault %d is %s and begins after %s; the one before ends after %s", i, f.ID, f.At, end)
				}
				end = f.At + f.For + proofTime
			}
			if limit := 8*time.Second + 80*time.Second; end > limit {
				t.Errorf("the last one ends after %s, later than %s", end, limit)
			}
		}
		drawn[first] = true
	}
	if len(drawn) < 4 {
		t.Errorf("five seeds gave %d drills", len(drawn))
	}
}

// TestSurpriseInShort runs the same drill in a twentieth of its time: proofs take as long as ever, and faults still do not overlap.
func TestSurpriseInShort(t *testing.T) {
	s, err := Orders{File: "any.yaml", Text: []byte(surprising), TimeScale: 0.05}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range s.Faults[1:] {
		if before := s.Faults[i]; f.At < before.At+before.For+proofTime {
			t.Errorf("%s begins after %s; %s ends after %s, and its proof takes %s", f.ID, f.At, before.ID, before.At+before.For, proofTime)
		}
	}
	s, err = Orders{File: "any.yaml", Text: []byte(surprising), TimeScale: 1, NoFaults: true}.Resolve()
	if err != nil || len(s.Surprise.Of) > 0 || len(s.Faults) > 0 {
		t.Errorf("without faults: %d of %d (%v)", len(s.Faults), len(s.Surprise.Of), err)
	}
}

// TestSurpriseWeights holds 10,000 draws against the weights by a χ² test: 18.47 is what chance exceeds once in a thousand, with five kinds.
func TestSurpriseWeights(t *testing.T) {
	s := Surprise{Weights: []float64{38, 29, 22, 11, 0.5}}
	const sum, draws = 100.5, 10_000
	rng := rand.New(rand.NewPCG(1, 2))
	count := make([]float64, len(s.Weights))
	for range draws {
		count[s.draw(rng, sum)]++
	}
	chi := func(weights []float64, sum float64) (x float64) {
		for i, w := range weights {
			due := draws * w / sum
			x += (count[i] - due) * (count[i] - due) / due
		}
		return x
	}
	if x := chi(s.Weights, sum); x > 18.47 {
		t.Errorf("χ² is %.2f: %v", x, count)
	}
	if x := chi([]float64{35, 32, 22, 11, 0.5}, sum); x < 18.47 {
		t.Errorf("χ² is %.2f for other weights: the test sees nothing", x)
	}
}

// TestWrongSurprise finds every mistake at its line.
func TestWrongSurprise(t *testing.T) {
	text := strings.NewReplacer("weight: 38, ", "weight: -1, ", "weight: 29,  for: 10s", "weight: 29,  at: 3s, for: 10s", "weight: 22,  for: 10s", "for: 30s",
		"inject: gpu.throttle, on: transcode", "inject: gpu.throttel, on: transcode").Replace(surprising)
	_, err := Parse("any.yaml", []byte(text), nil)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	for _, want := range []string{"any.yaml:9: surprise.of[0]: weight: -1", "any.yaml:10: surprise.of[1]: its id", "any.yaml:11: surprise.of[2]: for: 4 faults within 1m20s leave 20s for each, and this one needs 33s",
		`any.yaml:12: surprise.of[3]: inject: no fault "gpu.throttel"`, "any.yaml:15: objectives[0]: no phase and no fault"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if len(problems) != 5 {
		t.Errorf("%d problems:\n%v", len(problems), err)
	}
	if _, err := Parse("any.yaml", []byte(strings.Replace(surprising, "{at: 0s, for: 5s", "{id: d2, at: 0s, for: 5s", 1)), nil); err == nil || !strings.Contains(err.Error(), "is called d2, as one that is drawn") {
		t.Errorf("a name that stands twice: %v", err)
	}
	for _, bad := range []string{"faults: 0", "faults: -3", "faults: 100000", "faults: x"} {
		if _, err := Parse("any.yaml", []byte(strings.Replace(surprising, "faults: 4", bad, 1)), nil); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
