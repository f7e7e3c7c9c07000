package documents_test

import (
	"runtime"
	"testing"

	"github.com/livedrill/livedrill/reports/documents"
	"github.com/livedrill/livedrill/reports/reportstest"
)

// benchmark judges a run of so many seconds with a thousand series and writes every document.
func benchmark(b *testing.B, seconds int) {
	s := reportstest.Usual()
	s.Steady, s.Fault, s.Recovery, s.Series = seconds/3, seconds/3, seconds/3, 1000
	dir := s.Write(b)
	b.ResetTimer()
	for b.Loop() {
		if _, err := documents.Finish(b.Context(), dir, "en"); err != nil {
			b.Fatal(err)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/1e6, "MB")
}

func BenchmarkTenMinutes(b *testing.B) { benchmark(b, 600) }

func BenchmarkTwoHours(b *testing.B) { benchmark(b, 7200) }
