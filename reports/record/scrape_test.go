package record

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// TestBeScraped is a process of a platform: it serves metrics until it is killed, if BenchmarkScrape started it.
func TestBeScraped(t *testing.T) {
	socket := os.Getenv("LIVEDRILL_TEST_SCRAPED")
	if socket == "" {
		t.Skip("it is for BenchmarkScrape")
	}
	m := NewMetrics()
	var counters []prometheus.Counter
	var histograms []*Histogram
	for i := range 30 {
		counters = append(counters, m.Counter(fmt.Sprintf("livedrill_test_%d_total", i), "Things.", nil))
	}
	for i := range 6 {
		histograms = append(histograms, m.Histogram(fmt.Sprintf("livedrill_test_%d_seconds", i), "Times.", nil))
	}
	_ = m.Serve(t.Context(), socket, http.NewServeMux(), func(context.Context) error {
		for _, c := range counters { // all of it is something else at the next scrape
			c.Add(1 + rand.Float64())
		}
		for _, h := range histograms {
			for range 500 {
				h.Observe(0.01 * rand.ExpFloat64())
			}
		}
		return nil
	})
}

// BenchmarkScrape is the processor time of this process alone, the reader and the database, for a round of 20 processes that each have 30
// counters and 6 histograms. A drill has one round a second.
func BenchmarkScrape(b *testing.B) {
	dir, err := os.MkdirTemp("", "livedrill") // b.TempDir is too long for Unix sockets
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := OpenDatabase(filepath.Join(dir, "tsdb"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s := NewScraper(db)
	defer s.Close()
	const processes = 20
	var sockets []string
	for i := range processes {
		socket := filepath.Join(dir, fmt.Sprint(i))
		cmd := exec.Command(os.Args[0], "-test.run=^TestBeScraped$", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), "LIVEDRILL_TEST_SCRAPED="+socket)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		for end := time.Now().Add(10 * time.Second); !change(socket); {
			if time.Now().After(end) {
				b.Fatal("a process does not serve its metrics")
			}
			<-time.After(10 * time.Millisecond)
		}
		s.Add(fmt.Sprint("process-", i), socket)
		sockets = append(sockets, socket)
	}
	var spent time.Duration
	for b.Loop() {
		for _, socket := range sockets {
			change(socket)
		}
		before := processorTime(b)
		if _, err := s.Scrape(b.Context()); err != nil {
			b.Fatal(err)
		}
		spent += processorTime(b) - before
	}
	if up, err := db.Query(b.Context(), "sum(up)", time.Now()); err != nil || len(up) != 1 || up[0].F != processes {
		b.Fatalf("read %v (%v), want %d processes", up, err, processes)
	}
	b.ReportMetric(spent.Seconds()*1e3/float64(b.N), "CPU-ms/round")
	b.ReportMetric(100*spent.Seconds()/float64(b.N), "%core-at-1/s")
}

// change lets all that a process counts become something else.
func change(socket string) bool {
	resp, err := Client(socket).Get("http://unix/health")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestLostScraper: a scraper whose targets are all silent says so, though it hears itself; one of them is enough to go on.
func TestLostScraper(t *testing.T) {
	dir, err := os.MkdirTemp("", "livedrill") // t.TempDir is too long for Unix sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := OpenDatabase(filepath.Join(dir, "tsdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := NewScraper(db)
	defer s.Close()
	served := make(chan struct{}, 2)
	serve := func(ctx context.Context, name string) string {
		socket := filepath.Join(dir, name)
		go func() {
			_ = NewMetrics().Serve(ctx, socket, http.NewServeMux(), func(context.Context) error { return nil }) // it is told to end
			served <- struct{}{}
		}()
		return socket
	}
	other, end := context.WithCancel(t.Context())
	always, stop := context.WithCancel(t.Context())
	defer func() { stop(); <-served; <-served }()
	s.AddSelf("range", serve(always, "range"))
	s.Add("gateway", serve(other, "gateway"))
	s.Add("gone", filepath.Join(dir, "gone"))
	lost := make(chan error, 1)
	go func() { lost <- s.Run(t.Context(), 100*time.Millisecond) }()
	select {
	case err := <-lost:
		t.Fatalf("while one answers: %v", err)
	case <-time.After(time.Second):
	}
	end()
	select {
	case err := <-lost:
		if err == nil {
			t.Error("it ends without a word")
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody is heard any more, and it goes on")
	}
}
