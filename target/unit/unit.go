// Package unit holds the quantities that scenarios are written in. Each reads and prints the form that people write and
// keeps the base unit inside: ratios from 0 to 1, events per second, bits per second, bytes.
package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Ratio is a share between 0 and 1; it is written "20%" or "0.2".
type Ratio float64

// UnmarshalText reads a share and refuses one outside 0 to 100 %.
func (r *Ratio) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	number, percent := strings.CutSuffix(s, "%")
	v, err := parse(number)
	if err != nil {
		return fmt.Errorf("%q is no share: write it as 20%% or 0.2", s)
	}
	if percent {
		v /= 100
		if shifted, err := strconv.ParseFloat(number+"e-2", 64); err == nil { // 99.99 / 100 is not 0.9999
			v = shifted
		}
	}
	if v < 0 || v > 1 {
		return fmt.Errorf("%s is outside 0%% to 100%%", s)
	}
	*r = Ratio(v)
	return nil
}

func (r Ratio) String() string { return strconv.FormatFloat(float64(r)*100, 'g', 6, 64) + "%" }

// MarshalText writes the percent form where that says it exactly, and else the number.
func (r Ratio) MarshalText() ([]byte, error) {
	text := []byte(r.String())
	if again := Ratio(0); again.UnmarshalText(text) != nil || again != r {
		text = strconv.AppendFloat(nil, float64(r), 'g', -1, 64)
	}
	return text, nil
}

// Rate is a number of events per second; it is written "500/s", "30/m" or "500".
type Rate float64

// UnmarshalText reads a rate and refuses a negative one.
func (r *Rate) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	number, per, found := strings.Cut(s, "/")
	v, err := scaled(number)
	if err != nil {
		return fmt.Errorf("%q is no rate: write it as 500/s", s)
	}
	if found {
		switch strings.TrimSpace(per) {
		case "s":
		case "m", "min":
			v /= 60
		default:
			return fmt.Errorf("%q is no rate: write it per second (500/s) or per minute (30/m)", s)
		}
	}
	if v < 0 {
		return fmt.Errorf("a rate of %s is below zero", s)
	}
	*r = Rate(v)
	return nil
}

func (r Rate) String() string { return strconv.FormatFloat(float64(r), 'g', 6, 64) + "/s" }

// MarshalText writes the form per second.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Bitrate is a number of bits per second; it is written "800k" or "2.5M".
type Bitrate float64

// UnmarshalText reads a bit rate and refuses one that is not above zero.
func (b *Bitrate) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	v, err := scaled(strings.TrimSuffix(strings.TrimSuffix(s, "bit/s"), "bit"))
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is no bit rate: write it as 800k or 2.5M", s)
	}
	*b = Bitrate(v)
	return nil
}

func (b Bitrate) String() string {
	switch v := float64(b); {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 6, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 6, 64) + "k"
	default:
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
}

// MarshalText writes the short form.
func (b Bitrate) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Duration is a time.Duration that JSON and YAML show as "1.5s".
type Duration time.Duration

// UnmarshalText reads Go's form of a duration and refuses a negative one.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it as 1.5s, 200ms or 2m", text)
	}
	if v < 0 {
		return fmt.Errorf("a duration of %s is below zero", v)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// Seconds is the duration in seconds.
func (d Duration) Seconds() float64 { return time.Duration(d).Seconds() }

// MarshalText writes Go's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// scaled reads a number with an optional k, M or G (powers of 1000).
func scaled(s string) (float64, error) {
	s = strings.TrimSpace(s)
	factor := 1.0
	if s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			factor = 1e3
		case 'M':
			factor = 1e6
		case 'G':
			factor = 1e9
		}
	}
	if factor != 1 {
		s = s[:len(s)-1]
	}
	v, err := parse(s)
	return v * factor, err
}

func parse(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = strconv.ErrRange
	}
	return v, err
}
