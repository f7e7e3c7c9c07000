package danmaku

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, ok := range map[string]bool{
		"pub 1 1700000000000000 hello world": true,
		"pub 1 17 ":                          true,
		"pub 1 17":                           false,
		"pub x 17 hello":                     false,
		"pub 1 -5 hello":                     false,
		"pub  17 hello":                      false,
		"ack 1":                              false,
		"pub 1 17 two\nlines":                false,
		"pub 1 17 " + strings.Repeat("x", MaxMessage): false,
	} {
		if _, err := parse([]byte(line)); (err == nil) != ok {
			t.Errorf("%.40q: %v", line, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("pub 1 17 hello"))
	f.Fuzz(func(t *testing.T, line []byte) {
		p, err := parse(line)
		if err == nil && len(p.rest) == 0 {
			t.Errorf("%q gave an empty part", line)
		}
	})
}
