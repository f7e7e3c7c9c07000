package record

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// TestBucketOf holds the quick look-up against the definition: bucket i spans (2^((i-1)/32), 2^(i/32)].
func TestBucketOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []float64{zeroLimit * 1.0001, 1e-6, 0.5, 1, 2, math.Exp2(1.0 / 32), math.Nextafter(1, 2), 3600}
	for range 20_000 {
		values = append(values, math.Exp2(rng.Float64()*30-19))
	}
	for _, v := range values {
		i := bucketOf(v) + lowestExp*perDoubling
		lower, upper := math.Exp2(float64(i-1)/perDoubling), math.Exp2(float64(i)/perDoubling)
		if v <= lower*(1-1e-12) || v > upper*(1+1e-12) {
			t.Fatalf("%g went to bucket %d (%g, %g]", v, i, lower, upper)
		}
	}
}

// TestHistogramAgreesWithClientGolang gives the same samples to the reference implementation and compares bucket for
// bucket.
func TestHistogramAgreesWithClientGolang(t *testing.T) {
	ours := NewHistogram("x_seconds", "x", nil)
	ref := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x_seconds", NativeHistogramBucketFactor: 1.0219,
		NativeHistogramZeroThreshold: zeroLimit, NativeHistogramMaxBucketNumber: 100_000})
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5_000 {
		v := math.Exp2(rng.Float64()*25 - 19)
		ours.Observe(v)
		ref.Observe(v)
	}
	a, b := counts(t, ours), counts(t, ref)
	if len(a) != len(b) {
		t.Fatalf("%d buckets, the reference has %d", len(a), len(b))
	}
	keys := make([]int, 0, len(a))
	for k := range a {
		keys = append(keys, k)
	}
	sort.Ints(keys)
	for _, k := range keys {
		if a[k] != b[k] {
			t.Errorf("bucket %d: %d, the reference has %d", k, a[k], b[k])
		}
	}
}

func counts(t *testing.T, m prometheus.Metric) map[int]int64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	got := map[int]int64{}
	at, n, d := 0, int64(0), 0
	for i, span := range out.Histogram.PositiveSpan {
		if i == 0 {
			at = int(span.GetOffset())
		} else {
			at += int(span.GetOffset())
		}
		for range span.GetLength() {
			n += out.Histogram.PositiveDelta[d]
			d++
			got[at] = n
			at++
		}
	}
	return got
}

func BenchmarkObserve(b *testing.B) {
	h := NewHistogram("x_seconds", "x", nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Observe(float64(i&1023) * 1e-5)
	}
}
