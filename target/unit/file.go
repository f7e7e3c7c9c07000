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
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("%s: is a directory", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is no file that has an end", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: has %d bytes, which is more than %d MiB", path, info.Size(), maxFile>>20)
	}
	return os.ReadFile(path)
}
