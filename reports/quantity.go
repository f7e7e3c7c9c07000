package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Quantity prints a value in its unit, as people read it.
func Quantity(v *float64, unit string) string {
	if v == nil {
		return "-"
	}
	switch unit {
	case "ratio":
		digits := 1
		if near := min(*v, 1-*v); near > 0 && near < 0.01 {
			digits = 3
		}
		return strconv.FormatFloat(*v*100, 'f', digits, 64) + " %"
	case "seconds":
		if *v < 1 {
			return strconv.FormatFloat(*v*1000, 'f', 0, 64) + " ms"
		}
		return strconv.FormatFloat(*v, 'f', 2, 64) + " s"
	case "bytes/s":
		for i, unit := range []string{"B/s", "kB/s", "MB/s"} {
			if size := *v / math.Pow(1000, float64(i)); size < 1000 || i == 2 {
				return strconv.FormatFloat(size, 'g', 3, 64) + " " + unit
			}
		}
	case "count", "": // books, and what has no unit, to the last one
	default:
		if math.Abs(*v) < 1000 {
			return strconv.FormatFloat(*v, 'g', 3, 64)
		}
	}
	return strconv.FormatFloat(*v, 'g', 6, 64)
}

// Bounds prints an interval; an open end is an ellipsis.
func Bounds(low, high *float64, unit string) string {
	if low == nil && high == nil {
		return "-"
	}
	text := func(v *float64) string {
		if v == nil {
			return "…"
		}
		return Quantity(v, unit)
	}
	return text(low) + " to " + text(high)
}

// Count prints a number of events.
func Count(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", n/1e3)
	}
	return strconv.FormatFloat(math.Round(n), 'f', 0, 64)
}

// Percent prints a share as a percentage with as many digits as it needs, two at least where it is no round one.
func Percent(v float64) string {
	digits := 2
	if gap := math.Min(v, 1-v); gap > 0 && gap < 0.001 {
		digits = 4
	}
	text := strconv.FormatFloat(v*100, 'f', digits, 64)
	if round := strconv.FormatFloat(v*100, 'g', 6, 64); len(round) < len(text) && digits == 4 {
		text = round // 99.99 and not 99.9900
	}
	return text + " %"
}

// Span prints a length of time without the parts that are nothing: 10m, 6h.
func Span(d time.Duration) string {
	text := d.Round(time.Second).String()
	if cut, ok := strings.CutSuffix(text, "m0s"); ok {
		text = cut + "m"
	}
	if cut, ok := strings.CutSuffix(text, "h0m"); ok {
		text = cut + "h"
	}
	return text
}

// turns are the characters that turn the direction of a text, or have no width.
var turns = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x200b, Hi: 0x200f, Stride: 1}, {Lo: 0x202a, Hi: 0x202e, Stride: 1}, {Lo: 0x2060, Hi: 0x2069, Stride: 1}}}

// Visible takes out what would move a terminal or hide a text: logs and names hold what others wrote.
func Visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) && r != '\n' || r == unicode.ReplacementChar || unicode.Is(turns, r) {
			return -1
		}
		return r
	}, s)
}
