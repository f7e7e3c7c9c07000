package kinds

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/api"
	"github.com/livedrill/livedrill/loadgen/danmaku"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/hls"
	"github.com/livedrill/livedrill/loadgen/loadgentest"
	"github.com/livedrill/livedrill/loadgen/rtmp"
	"github.com/livedrill/livedrill/loadgen/webrtc"
	"github.com/livedrill/livedrill/target/unit"
)

// short is a patience that runs out within these loads' plan.
const short = unit.Duration(200 * time.Millisecond)

// TestConformance runs every kind of load through the promises.
func TestConformance(t *testing.T) {
	cache := filepath.Join(os.TempDir(), "livedrill-test-cache") // kept: the camera's film is the same every time
	all := append(All[:len(All):len(All)], Kind{"http by the pool", "", func() loadgen.Generator {
		g := api.Default().(*api.Load)
		g.Engine = "pool"
		return g
	}})
	for _, k := range all {
		t.Run(k.Name, func(t *testing.T) {
			loadgentest.Run(t, func() loadgen.Generator {
				g := k.Default()
				switch g := g.(type) {
				case *rtmp.Load:
					g.Publishers, g.Viewers, g.Width, g.Height, g.Patience = 2, 3, 160, 90, short
				case *flv.Load:
					g.Viewers, g.Patience = 30, short
				case *hls.Load:
					g.Viewers, g.Patience = 30, short // the house fills over three seconds
				case *webrtc.Load:
					g.Publishers, g.Viewers, g.Width, g.Height, g.Patience = 2, 5, 160, 90, short
				case *danmaku.Load:
					g.Connections, g.Rooms.Count = 8, 2
				case *api.Load:
					g.Users = 2
				}
				return g
			}, cache)
		})
	}
}

// TestEveryFolderIsListed fails when somebody adds a kind and forgets the list.
func TestEveryFolderIsListed(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{"http": true}
	for _, k := range All {
		listed[k.Name] = true
		if err := validate(k.Default()); err != nil {
			t.Errorf("the defaults of %s: %v", k.Name, err)
		}
	}
	other := map[string]bool{"media": true, "kinds": true, "loadgentest": true, "api": listed["http"], "audience": true, "peers": true}
	for _, e := range entries {
		if e.IsDir() && !listed[e.Name()] && !other[e.Name()] {
			t.Errorf("loadgen/%s is no kind in the list", e.Name())
		}
	}
}

func validate(g loadgen.Generator) error {
	if v, ok := g.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}
