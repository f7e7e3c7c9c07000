package record

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCatalogue holds the list of metrics to the source: every name that a process registers is in it, and no other; and names
// end as Prometheus' own rules say.
func TestCatalogue(t *testing.T) {
	found := map[string]bool{}
	literal := regexp.MustCompile(`"(livedrill_[a-z0-9_]+)"`)
	for _, folder := range []string{"cmd", "scenarios", "injectors", "loadgen", "target"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "test/") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range literal.FindAllSubmatch(text, -1) {
				found[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range found {
		if !slices.ContainsFunc(Catalogue, func(m Metric) bool { return m.Name == name }) {
			t.Errorf("%s is in no list", name)
		}
	}
	for _, m := range Catalogue {
		if !found[m.Name] {
			t.Errorf("%s is in the list, and no process offers it", m.Name)
		}
		counter, seconds := strings.HasSuffix(m.Name, "_total"), strings.HasSuffix(m.Name, "_seconds")
		if (m.Type == "counter") != counter || m.Type == "histogram" && !seconds || m.Help == "" {
			t.Errorf("%s is a %s: %q", m.Name, m.Type, m.Help)
		}
	}
}
