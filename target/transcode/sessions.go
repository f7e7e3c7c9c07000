package transcode

import (
	"context"
	"errors"
	"sync"

	"github.com/livedrill/livedrill/target"
)

// errNoSession is what NVIDIA's driver says when a card has as many encoders as it may have.
var errNoSession = errors.New("OpenEncodeSessionEx failed: out of memory (10)")

// sessions are the encoders that are open, and how many may be.
type sessions struct {
	mu   sync.Mutex
	told target.Sessions
	open []*session
}

type session struct{ end context.CancelCauseFunc }

// limit takes a new limit, and ends what is open beyond it, the newest first.
func (s *sessions) limit(told target.Sessions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told = told; !told.Limited {
		return
	}
	for _, o := range s.open[min(told.Most, len(s.open)):] {
		o.end(errNoSession)
	}
}

// take opens a session that end can end, or says why there is none.
func (s *sessions) take(end context.CancelCauseFunc) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told.Limited && len(s.open) >= s.told.Most {
		return nil, errNoSession
	}
	o := &session{end}
	s.open = append(s.open, o)
	return o, nil
}

// give closes a session.
func (s *sessions) give(o *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.open {
		if s.open[i] == o {
			s.open = append(s.open[:i], s.open[i+1:]...)
			return
		}
	}
}
