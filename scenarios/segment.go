package scenarios

import (
	"fmt"
	"strconv"
	"strings"
)

// Segment is one part of a load that is made in several places, written "2/3". The zero value is the whole.
type Segment struct{ Index, Count int } // Index from 0

// UnmarshalText reads a segment, whose number counts from 1.
func (s *Segment) UnmarshalText(text []byte) error {
	number, of, ok := strings.Cut(string(text), "/")
	i, err := strconv.Atoi(number)
	n, err2 := strconv.Atoi(of)
	if !ok || err != nil || err2 != nil || n < 1 || n > 1000 || i < 1 || i > n {
		return fmt.Errorf("%q is no segment: write the second of three as 2/3", text)
	}
	*s = Segment{i - 1, n}
	return nil
}

func (s Segment) String() string {
	if s.Count < 2 {
		return "1/1"
	}
	return fmt.Sprintf("%d/%d", s.Index+1, s.Count)
}
