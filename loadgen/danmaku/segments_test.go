package danmaku

import (
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/unit"
)

// listener is a server that remembers every message, with its sender, number and due time.
type listener struct {
	gws.BuiltinEventHandler
	mu    sync.Mutex
	heard map[string]int
}

func (l *listener) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	as, _ := c.Session().Load("as")
	fields := strings.SplitN(m.Data.String(), " ", 4)
	at, err := time.ParseDuration(fields[2] + "us")
	if err != nil {
		return
	}
	start, _ := c.Session().Load("start")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[as.(string)+" "+fields[1]+" "+(at-start.(time.Duration)).String()]++
}

// TestSegmentsMakeTheWhole talks at once, and in three parts each in two regions: the same messages, of the same members, due at the same
// moments.
func TestSegmentsMakeTheWhole(t *testing.T) {
	l := &listener{heard: map[string]int{}}
	var start time.Time
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := gws.NewUpgrader(l, &gws.ServerOption{}).Upgrade(w, r)
		if err != nil {
			return
		}
		c.Session().Store("as", r.URL.Query().Get("as"))
		c.Session().Store("start", time.Duration(start.UnixMicro())*time.Microsecond)
		c.ReadLoop()
	}))
	defer web.Close()
	play := func(s loadgen.Slice) map[string]int {
		start = time.Now().Truncate(time.Microsecond).Add(700 * time.Millisecond) // everybody is there by then
		m := loadgen.NewMeter(loadgen.Spec{Name: "test", Region: "north", Slice: s, Seed: 1, Start: start, For: unit.Duration(time.Second)})
		g := Default().(*Load)
		g.Connections, g.Rate, g.URL = 60, loadgen.Constant(900), "ws://"+web.Listener.Addr().(*net.TCPAddr).String()
		if err := g.Run(t.Context(), m.Platform, m); err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		heard := maps.Clone(l.heard)
		clear(l.heard)
		return heard
	}
	whole, parts := play(loadgen.Whole), map[string]int{}
	for i := range 3 {
		for _, s := range []loadgen.Slice{{To: 0.8, Index: i, Count: 3}, {From: 0.8, To: 1, Index: i, Count: 3}} {
			for k, n := range play(s) {
				parts[k] += n
			}
		}
	}
	if len(whole) != 900 || !maps.Equal(whole, parts) {
		t.Errorf("%d messages at once, %d in parts", len(whole), len(parts))
		for k := range whole {
			if parts[k] != 1 {
				t.Fatalf("%q comes %d times in parts", k, parts[k])
			}
		}
	}
}
