package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/targettest"
)

func TestMain(m *testing.M) { hoststest.Main(m) }

// TestInventory: the same platform has the same sum, and one that differs in a defence, a program, a disk, a replica or a canary has another.
func TestInventory(t *testing.T) {
	sum := func(profile string, change func(*Options)) string {
		defences, err := target.ProfileDefences(profile, nil)
		if err != nil {
			t.Fatal(err)
		}
		secrets, err := NewSecrets()
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Profile: profile, Defences: defences, Secrets: secrets, LogDir: t.TempDir(), OpenKeys: true}
		if change != nil {
			change(&o)
		}
		i, err := o.Inventory()
		if err != nil || len(i.Components) != len(o.layout()) {
			t.Fatalf("%d components: %v", len(i.Components), err)
		}
		return i.Sum
	}
	seen := map[string]string{}
	for name, s := range map[string]string{"weak": sum("weak", nil), "hardened": sum("hardened", nil),
		"one defence less":  sum("hardened", func(o *Options) { o.Defences["edge-dispatch"] = false }),
		"a replica":         sum("hardened", func(o *Options) { o.Replica = true }),
		"a disk that fails": sum("hardened", func(o *Options) { o.Drives = []string{"mariadb"} }),
		"another encoder":   sum("hardened", func(o *Options) { o.Encoder = "h264_nvenc" }),
		"a canary":          sum("hardened", func(o *Options) { o.Canary = &Canary{Share: 0.3, Defences: o.Defences} })} {
		if other, twice := seen[s]; twice {
			t.Errorf("%s and %s have one sum", name, other)
		}
		seen[s] = name
	}
	if first, again := sum("weak", nil), sum("weak", nil); first != again {
		t.Error("one platform has two sums")
	}
}

// TestConformance runs every kind of component through the promises, with a real MariaDB and a real Redis beside it, and with a disk that
// can be told what to do: whatever a real server does with its files, that has to pass on.
func TestConformance(t *testing.T) {
	r := hoststest.Range(t)
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
			if k.Name == "gateway" || k.Name == "danmaku" || k.Name == "ranking" {
				for _, name := range []string{"mariadb", "redis"} {
					kind, _ := FindKind(name)
					if _, err := exec.LookPath(kind.Programs[0]); err != nil {
						t.Skipf("%s is not on this machine", kind.Programs[0])
					}
					defer targettest.Start(t, kind.Serve, targettest.Config(t, name, name, addr, peers))()
				}
			}
			targettest.Run(t, k.Serve, behind(t, r, targettest.Config(t, k.Name, k.Name, addr, peers)))
		})
	}
}

// behind puts a component's files behind a disk of its own, where this machine has FUSE.
func behind(t *testing.T, r *hosts.Range, c target.Config) target.Config {
	dir := t.TempDir()
	seen := target.Config{Name: "disk-" + c.Name, Dir: filepath.Join(dir, "seen"), Below: filepath.Join(dir, "below"), Socket: filepath.Join(c.Dir, "disk")}
	if err := os.Mkdir(seen.Below, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := disk.Start(t.Context(), r.Own(), seen, filepath.Join(dir, "log"))
	if err != nil {
		t.Log(err)
		return c
	}
	t.Cleanup(func() { p.Stop(time.Second) })
	c.Dir = seen.Dir
	return c
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
