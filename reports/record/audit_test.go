package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuditChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), AuditFile)
	a, err := CreateAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"fault.inject", "fault.proven", "fault.restore", "fault.clean"} {
		a.Add("uid 1000", action, map[string]any{"fault": "f1", "n": 1.5, "is": map[string]float64{"b": 2, "a": 1}})
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := CheckAudit(path); err != nil {
		t.Fatalf("a log that nobody touched: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")[:4]
	for name, changed := range map[string]string{
		"a changed line":  strings.Replace(string(whole), "fault.proven", "fault.clean", 1),
		"a line less":     lines[0] + lines[2] + lines[3],
		"the first gone":  lines[1] + lines[2] + lines[3],
		"lines turned":    lines[0] + lines[2] + lines[1] + lines[3],
		"a line too many": string(whole) + lines[3],
		"another actor":   strings.Replace(string(whole), "uid 1000", "uid 1001", 1),
		"no entry":        string(whole) + "{",
	} {
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := CheckAudit(path); err == nil {
			t.Errorf("%s is not found", name)
		}
	}
}
