package stack

import (
	"os/exec"
	"testing"

	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/targettest"
)

func TestMain(m *testing.M) { hoststest.Main(m) }

// TestConformance runs every kind of component through the promises, with a real MariaDB and a real Redis beside it.
func TestConformance(t *testing.T) {
	hoststest.Range(t)
	const addr = hosts.BridgeAddr
	peers := map[string]string{"mariadb:3306": addr + ":3306", "redis:6379": addr + ":6379", "gateway:8080": addr + ":8080",
		"origin:8080": addr + ":8080", "transcode:8080": addr + ":8080", "edge-north:8080": addr + ":8080",
		"edge-north:8082": addr + ":8082"}
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			for _, p := range k.Programs {
				if _, err := exec.LookPath(p); err != nil {
					t.Skipf("%s is not on this machine", p)
				}
			}
			if k.Name == "gateway" || k.Name == "danmaku" {
				for _, name := range []string{"mariadb", "redis"} {
					kind, _ := FindKind(name)
					if _, err := exec.LookPath(kind.Programs[0]); err != nil {
						t.Skipf("%s is not on this machine", kind.Programs[0])
					}
					defer targettest.Start(t, kind.Serve, targettest.Config(t, name, name, addr, peers))()
				}
			}
			targettest.Run(t, k.Serve, targettest.Config(t, k.Name, k.Name, addr, peers))
		})
	}
}

// TestLayout holds the layout to the kinds.
func TestLayout(t *testing.T) {
	used := map[string]bool{}
	for _, p := range layout {
		if _, ok := FindKind(p.kind); !ok {
			t.Errorf("%s is of kind %q, which is not in the list", p.name, p.kind)
		}
		used[p.kind] = true
	}
	for _, k := range Kinds {
		if !used[k.Name] {
			t.Errorf("no component is of kind %s", k.Name)
		}
	}
}
