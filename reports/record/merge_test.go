package record

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestPartsMakeTheWhole puts samples into one histogram, and the same ones into those of three workers, which the judge adds up: bucket
// for bucket it is the same histogram.
func TestPartsMakeTheWhole(t *testing.T) {
	db, err := OpenDatabase(filepath.Join(t.TempDir(), "tsdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := NewMetrics()
	whole := m.Histogram("whole_seconds", "", nil)
	var parts []*Histogram
	for i := range 3 {
		parts = append(parts, m.Histogram("part_seconds", "", prometheus.Labels{"worker": fmt.Sprint(i)}))
	}
	rng := rand.New(rand.NewPCG(5, 6))
	at := time.Now()
	for round := range 2 { // the second one grows buckets that the first one had, and adds others
		for range 3000 {
			v := math.Exp2(rng.Float64()*20 - 15)
			whole.Observe(v)
			parts[rng.IntN(3)].Observe(v)
		}
		families, err := m.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Put(t.Context(), at.Add(time.Duration(round)*time.Second), "w", families); err != nil {
			t.Fatal(err)
		}
	}
	sums, err := db.Query(t.Context(), "sum(part_seconds)", at.Add(time.Second))
	if err != nil || len(sums) != 1 || sums[0].H == nil {
		t.Fatalf("%v (%v)", sums, err)
	}
	all, err := db.Query(t.Context(), "sum(whole_seconds)", at.Add(time.Second))
	if err != nil || len(all) != 1 || all[0].H == nil {
		t.Fatalf("%v (%v)", all, err)
	}
	got, want := sums[0].H, all[0].H
	if want.Count != 6000 || got.Count != want.Count || math.Abs(got.Sum-want.Sum) > 1e-3 || len(got.PositiveBuckets) == 0 {
		t.Fatalf("%g samples of %g s in the parts, %g of %g s in the whole", got.Count, got.Sum, want.Count, want.Sum)
	}
	have := map[float64]float64{}
	for it := got.PositiveBucketIterator(); it.Next(); {
		have[it.At().Upper] = it.At().Count
	}
	n := 0
	for it := want.PositiveBucketIterator(); it.Next(); n++ {
		if b := it.At(); have[b.Upper] != b.Count {
			t.Errorf("bucket up to %g s: %g in the parts, %g in the whole", b.Upper, have[b.Upper], b.Count)
		}
	}
	if n != len(have) {
		t.Errorf("the parts have %d buckets, the whole has %d", len(have), n)
	}
}
