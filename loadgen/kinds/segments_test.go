package kinds

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/hls"
	loadrtmp "github.com/livedrill/livedrill/loadgen/rtmp"
	"github.com/livedrill/livedrill/loadgen/users"
	"github.com/livedrill/livedrill/loadgen/webrtc"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/rtmp"
	"github.com/livedrill/livedrill/target/unit"
)

// crowd is a platform that turns everybody away, and remembers who came.
type crowd struct {
	mu   sync.Mutex
	came map[string]bool
}

func (c *crowd) note(who string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.came[who] = true
}

func (c *crowd) who() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.came))
}

// open lets the crowd come, until the test ends.
func (c *crowd) open(t *testing.T) target.Platform {
	t.Helper()
	web := httptest.NewServer(c)
	t.Cleanup(web.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- rtmp.Serve(ctx, l, 10*time.Second, func(_ context.Context, conn *rtmp.Conn, r rtmp.Request) error {
			c.note(r.Stream)
			return conn.Refuse(r, "nobody comes in")
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	ports := map[string]int{"http": web.Listener.Addr().(*net.TCPAddr).Port, "rtmp": l.Addr().(*net.TCPAddr).Port}
	var on target.Platform
	for _, name := range []string{"gateway", "edge-north", "ingest-a"} {
		on.Components = append(on.Components, target.Component{Name: name, Addr: "127.0.0.1", Ports: ports})
	}
	return on
}

var watched = regexp.MustCompile(`^/(?:live|whep|whip)/([^/.]+)`)

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/dispatch" {
		_, _ = io.WriteString(w, `{"edge":"edge-north","danmaku":"danmaku-a","ingest":"ingest-a"}`)
		return
	}
	if m := watched.FindStringSubmatch(r.URL.Path); m != nil && !strings.HasPrefix(m[1], "test-new-") { // a publisher's probe comes only if the publisher is not turned away before
		c.note(m[1])
	}
	if r.URL.Path == "/v1/login" {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1000))
		c.note(string(body))
	}
	http.NotFound(w, r)
}

// TestSegmentsMakeTheWhole makes loads at once, and in three parts each in two regions: everybody comes in exactly one part, and nobody else.
func TestSegmentsMakeTheWhole(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip(err)
	}
	cache := filepath.Join(os.TempDir(), "livedrill-test-cache")
	if err := loadrtmp.Default().(*loadrtmp.Load).Prepare(t.Context(), cache); err != nil { // by one, for all
		t.Fatal(err)
	}
	cut := []loadgen.Slice{loadgen.Whole}
	for i := range 3 {
		cut = append(cut, loadgen.Slice{To: 0.8, Index: i, Count: 3}, loadgen.Slice{From: 0.8, To: 1, Index: i, Count: 3})
	}
	const n = 30
	newcomers := loadgen.Shape{Form: "trace", Trace: []loadgen.Point{{Rate: n / 2}, {At: unit.Duration(3 * time.Second), Rate: n / 2}, {At: unit.Duration(3 * time.Second)}}} // and nobody at the end, who might be cut off
	for name, load := range map[string]func() loadgen.Generator{
		"flv": func() loadgen.Generator {
			g := flv.Default().(*flv.Load)
			g.Viewers, g.Streams = n, n
			return g
		},
		"hls newcomers": func() loadgen.Generator {
			g := hls.Default().(*hls.Load)
			g.Viewers, g.Streams, g.Newcomers = 0, 1000, newcomers
			return g
		},
		"rtmp": func() loadgen.Generator {
			g := loadrtmp.Default().(*loadrtmp.Load)
			g.Publishers = n
			return g
		},
		"rtmp newcomers and viewers": func() loadgen.Generator {
			g := loadrtmp.Default().(*loadrtmp.Load)
			g.Publishers, g.Newcomers, g.Viewers, g.Streams = 0, newcomers, n, n
			return g
		},
		"webrtc": func() loadgen.Generator {
			g := webrtc.Default().(*webrtc.Load)
			g.Publishers, g.Viewers, g.Streams, g.Bitrate, g.Sound = n/3, n, n, 800e3, false
			return g
		},
		"users": func() loadgen.Generator {
			g := users.Default().(*users.Load)
			g.Rate, g.Accounts = newcomers, 200
			return g
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			came := make([][]string, len(cut))
			var wg sync.WaitGroup
			for i, s := range cut {
				c := &crowd{came: map[string]bool{}}
				m := loadgen.NewMeter(loadgen.Spec{Name: "test", Region: "north", Slice: s, Seed: 1, Start: time.Now().Add(100 * time.Millisecond),
					For: unit.Duration(8 * time.Second), Platform: c.open(t), Cache: cache})
				wg.Go(func() {
					if err := load().Run(t.Context(), m.Platform, m); err != nil {
						t.Error(err)
					}
					came[i] = c.who()
				})
			}
			wg.Wait()
			whole, parts := came[0], slices.Concat(came[1:]...)
			slices.Sort(parts)
			if len(whole) < n || !slices.Equal(whole, parts) {
				t.Errorf("at once:\n%s\nin parts:\n%s", strings.Join(whole, " "), strings.Join(parts, " "))
			}
		})
	}
}
