package edge

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// TestConf lets nginx itself read the configuration of both profiles.
func TestConf(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not on this machine")
	}
	for _, profile := range target.Profiles {
		t.Run(profile, func(t *testing.T) {
			dir := t.TempDir()
			defences, err := target.ProfileDefences(profile, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := target.Config{Name: "edge-north", Dir: dir, Listen: "127.0.0.1", Defences: defences, Edges: []string{"edge-north", "edge-south"},
				Peers: map[string]string{"origin:8080": "127.0.0.1:1", "edge-south:8082": "127.0.0.1:2"}}
			identity, err := target.NewIdentity(c, record.NewMetrics())
			if err != nil {
				t.Fatal(err)
			}
			if err := prepare(c, identity); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(nginx, "-t", "-c", filepath.Join(dir, "nginx.conf"), "-p", dir, "-e", "stderr").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			text, err := os.ReadFile(filepath.Join(dir, "nginx.conf"))
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range []string{"proxy_cache_lock on", "What is here is better than an error", "127.0.0.1:2 backup"} {
				if got := strings.Contains(string(text), line); got != (profile == "hardened") {
					t.Errorf("%q is in the configuration: %v", line, got)
				}
			}
		})
	}
}

// TestAccessLog counts nginx's lines and passes over anything else.
func TestAccessLog(t *testing.T) {
	m := record.NewMetrics()
	c := newCounts(m)
	for _, line := range []string{"<190>Nov 22 09:00:00 edge: HIT 200 1000", "<190>Nov 22 09:00:00 edge: MISS 200 500",
		"<190>Nov 22 09:00:00 edge: - 404 0", "nonsense", "edge: HIT", "edge: HIT 200 -7"} {
		c.line(line)
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.Metric {
			key := f.GetName()
			for _, l := range metric.Label {
				key += " " + l.GetValue()
			}
			got[key] = metric.GetCounter().GetValue()
		}
	}
	for key, want := range map[string]float64{"livedrill_edge_requests_total HIT": 2, "livedrill_edge_requests_total MISS": 1,
		"livedrill_edge_requests_total none": 1, "livedrill_edge_sent_bytes_total": 1500} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func FuzzAccessLog(f *testing.F) {
	f.Add("<190>Nov 22 09:00:00 edge: HIT 200 1000")
	c := newCounts(record.NewMetrics())
	f.Fuzz(func(_ *testing.T, line string) { c.line(line) })
}
