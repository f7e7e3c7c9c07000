//go:build !cgo

package gpu

import "errors"

// openCard cannot reach a card: NVML is a C library.
func openCard(int, string) (brake, error) {
	return nil, errors.New("this livedrill was built without cgo and cannot reach NVML: make build, with a C compiler")
}
