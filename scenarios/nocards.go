//go:build !cgo

package scenarios

import "github.com/livedrill/livedrill/reports/record"

// watchCards offers nothing: NVML is a C library, and this livedrill was built without.
func watchCards(*record.Metrics) {}
