package unit

import (
	"fmt"
	"os"
)

// maxFile bounds the files that settings name.
const maxFile = 16 << 20

// ReadFile reads a file that a setting names: one that has an end, and that this machine has room for.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: is no file of at most %d MiB", path, maxFile>>20)
	}
	return os.ReadFile(path)
}
