package target

import "math"

// Evenly tells whether the n-th of a row, counted from 0, is one of a share that is evenly spread over it.
func Evenly(n uint64, share float64) bool {
	return math.Floor(float64(n+1)*share) > math.Floor(float64(n)*share)
}
