package logs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRead reads the four forms of time, and a line that belongs to the one before it.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	zone := time.FixedZone("somewhere", 8*3600)
	started := time.Date(2026, 11, 24, 10, 0, 0, 0, zone)
	for name, text := range map[string]string{
		"gateway.log": "early\ntime=2026-11-24T02:00:05.500Z level=WARN msg=x\n",
		"redis.log":   "130:M 24 Nov 2026 10:00:06.250 * Ready\n",
		"mariadb.log": "2026-11-24 10:00:07 0 [Note] ready\nand more\n",
		"edge.log":    "2026/11/24 10:00:08 [error] 1#1: no way\n",
		"night.log":   "2026-11-24  9:59:59 0 [Note] one digit\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := Read(dir, started)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range lines {
		got[l.File] += fmt.Sprintf("%.2f %s;", l.T, l.Text)
	}
	for file, want := range map[string]string{
		"gateway.log": "5.50 level=WARN msg=x;", "redis.log": "6.25 * Ready;", "mariadb.log": "7.00 0 [Note] ready;7.00 and more;",
		"edge.log": "8.00 [error] 1#1: no way;", "night.log": "-1.00 0 [Note] one digit;",
	} {
		if got[file] != want {
			t.Errorf("%s: %q, want %q", file, got[file], want)
		}
	}
}

// TestPlantedAnomaly plants a burst of errors among usual lines, a hundred times, and counts what is found and what is not there.
func TestPlantedAnomaly(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	found, wrong := 0, 0
	for range 100 {
		var lines []Line
		for at := 0.0; at < 120; at += rng.ExpFloat64() * 0.5 {
			lines = append(lines, Line{at, "gateway.log", fmt.Sprintf("request %d took %d ms", rng.IntN(1e6), rng.IntN(90))})
		}
		for at := 0.0; at < 120; at += rng.ExpFloat64() * 10 {
			lines = append(lines, Line{at, "redis.log", fmt.Sprintf("saved %d keys", rng.IntN(1e6))})
		}
		for range 8 {
			lines = append(lines, Line{60 + 4*rng.Float64(), "gateway.log", fmt.Sprintf("cache refused: OOM on key %d", rng.IntN(100))})
		}
		for _, a := range Anomalies(lines, 10, 50, 120) {
			if a.Template == "cache refused: OOM on key <*>" && a.From >= 55 && a.To <= 70 {
				found++
			} else {
				wrong++
			}
		}
	}
	t.Logf("found %d of 100, %d others; precision %.3f", found, wrong, float64(found)/float64(found+wrong))
	if found < 99 || wrong > 2 {
		t.Errorf("found %d of 100 planted bursts, and %d that are none", found, wrong)
	}
}

func FuzzCut(f *testing.F) {
	f.Add("130:M 24 Nov 2026 10:00:06.250 * Ready")
	f.Add("2026/11/24 10:00:08 [error] 1#1: no way")
	f.Fuzz(func(t *testing.T, line string) {
		if _, text, ok := cut(line, time.UTC); !ok && text != line && line[:min(5, len(line))] != "time=" {
			t.Errorf("%q lost a part: %q", line, text)
		}
	})
}
