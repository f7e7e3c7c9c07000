package danmaku

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/unit"
)

// talk puts the load on a server for four seconds, and gives what was carried out and what failed, by why.
func talk(t *testing.T, serve http.HandlerFunc) (achieved float64, failed map[string]float64) {
	t.Helper()
	web := httptest.NewServer(serve)
	defer web.Close()
	m := loadgen.NewMeter(loadgen.Spec{Name: "test", Slice: loadgen.Whole, Seed: 1, Start: time.Now().Add(300 * time.Millisecond), For: unit.Duration(4 * time.Second)})
	l := Default().(*Load)
	l.Connections, l.Rate, l.URL = 20, loadgen.Constant(200), strings.Replace(web.URL, "http", "ws", 1)
	if err := l.Run(t.Context(), m.Platform, m); err != nil {
		t.Fatal(err)
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	failed = map[string]float64{}
	for _, f := range families {
		for _, x := range f.Metric {
			switch v := x.GetCounter().GetValue(); f.GetName() {
			case "livedrill_load_achieved_total":
				achieved = v
			case "livedrill_load_failed_total":
				for _, label := range x.Label {
					if label.GetName() == "reason" && v > 0 {
						failed[label.GetValue()] = v
					}
				}
			}
		}
	}
	return achieved, failed
}

// TestSilentServer lets messages fail that nobody answers in time: all but those of the last two seconds, whose time is not over.
func TestSilentServer(t *testing.T) {
	achieved, failed := talk(t, func(w http.ResponseWriter, r *http.Request) {
		if c, err := gws.NewUpgrader(&gws.BuiltinEventHandler{}, &gws.ServerOption{}).Upgrade(w, r); err == nil {
			c.ReadLoop()
		}
	})
	if achieved != 800 || len(failed) != 1 || failed[loadgen.Unanswered] < 600 {
		t.Errorf("%g carried out; failed: %v", achieved, failed)
	}
}

// TestClosingServer is not flooded by members who come again and again.
func TestClosingServer(t *testing.T) {
	var came atomic.Int64
	achieved, failed := talk(t, func(w http.ResponseWriter, r *http.Request) {
		came.Add(1)
		if c, err := gws.NewUpgrader(&gws.BuiltinEventHandler{}, &gws.ServerOption{}).Upgrade(w, r); err == nil {
			c.NetConn().Close()
		}
	})
	if n := came.Load(); n < 40 || n > 200 {
		t.Errorf("20 members came %d times in 5 s", n)
	}
	sum := 0.0
	for _, v := range failed {
		sum += v
	}
	if achieved != 800 || sum < 790 {
		t.Errorf("%g carried out; failed: %v", achieved, failed)
	}
}
