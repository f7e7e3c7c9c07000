package unit

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReadFile refuses at once what has no end.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	fifo, large, small := filepath.Join(dir, "fifo"), filepath.Join(dir, "large"), filepath.Join(dir, "small")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(small, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, large, dir, "/dev/zero", filepath.Join(dir, "missing")} {
		if _, err := ReadFile(path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
	if text, err := ReadFile(small); err != nil || string(text) != "x" {
		t.Errorf("%q, %v", text, err)
	}
}
