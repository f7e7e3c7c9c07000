package hls

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// TestAnEmptyPlaylist is asked for twice a second, and not as often as the server can answer.
func TestAnEmptyPlaylist(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmain.m3u8\n"
		if r.URL.Path == "/main.m3u8" {
			asked.Add(1)
			text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"
		}
		_, _ = w.Write([]byte(text)) // whether it arrived is the viewer's to say
	}))
	defer s.Close()
	l := Default().(*Load)
	l.Viewers, l.URL, l.Stay = 1, s.URL+"/index.m3u8", unit.Duration(10*time.Second)
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	m := loadgen.NewMeter(loadgen.Spec{Name: "test", Slice: loadgen.Whole, Seed: 1, Start: time.Now().Add(-3 * time.Second), For: unit.Duration(5 * time.Second)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Run(ctx, target.Platform{}, m); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n < 2 || n > 8 {
		t.Errorf("it was asked for %d times in two seconds", n)
	}
}
