package transcode

import (
	"context"
	"errors"
	"testing"

	"github.com/livedrill/livedrill/target"
)

func TestSessions(t *testing.T) {
	var s sessions
	var ended []int
	take := func(n int) (*session, error) {
		return s.take(func(cause error) {
			if !errors.Is(cause, errNoSession) {
				t.Errorf("session %d was ended for %v", n, cause)
			}
			ended = append(ended, n)
		})
	}
	first, err := take(1)
	if err == nil {
		_, err = take(2)
	}
	if err != nil {
		t.Fatal("without a limit one is refused:", err)
	}
	s.limit(target.Sessions{Limited: true, Most: 1})
	if len(ended) != 1 || ended[0] != 2 {
		t.Fatalf("ended %v, want the newest alone", ended)
	}
	s.give(s.open[1])
	if _, err := take(3); !errors.Is(err, errNoSession) {
		t.Errorf("a second session beside a limit of one: %v", err)
	}
	s.give(first)
	if _, err := take(4); err != nil {
		t.Errorf("the place of one that has gone is not free: %v", err)
	}
	s.limit(target.Sessions{})
	if _, err := s.take(context.CancelCauseFunc(nil)); err != nil {
		t.Errorf("when the limit is gone one is refused: %v", err)
	}
}
