package flv

import (
	"context"
	"slices"
	"sync"
)

// Hub hands one stream of tags on to any number of subscribers. A newcomer first gets the decoder configuration and the
// current group of pictures, so it has a picture at once. A subscriber that cannot keep up loses whole groups of
// pictures, never single frames, and is told how many tags were dropped.
type Hub struct {
	sound  bool // there are no pictures to wait for
	mu     sync.Mutex
	script *Tag
	video  *Tag
	audio  *Tag
	group  []Tag // from the newest key frame on
	subs   map[*Subscription]struct{}
	closed bool
}

// queueLimit is how many tags may wait for one subscriber: about 15 s of 25 fps video with AAC.
const queueLimit = 1024

// groupLimit bounds the kept group of a publisher that never sends a second key frame.
const groupLimit = 2048

// Subscription is one reader of a Hub.
type Subscription struct {
	hub     *Hub
	mu      sync.Mutex
	queue   []Tag
	waiting bool // a key frame is needed before anything but configurations is queued
	dropped uint64
	wake    chan struct{}
	ended   bool
}

// NewHub makes a hub without subscribers.
func NewHub() *Hub { return &Hub{subs: map[*Subscription]struct{}{}} }

// NewSoundHub makes a hub for a stream of sound alone.
func NewSoundHub() *Hub { return &Hub{sound: true, subs: map[*Subscription]struct{}{}} }

// Publish hands a tag on.
func (h *Hub) Publish(t Tag) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case t.Type == Script:
		h.script = &t
	case t.IsVideoHeader():
		h.video = &t
	case t.IsAudioHeader():
		h.audio = &t
	case t.IsKey():
		h.group = append(h.group[:0:0], t)
	case len(h.group) > 0 && len(h.group) < groupLimit:
		h.group = append(h.group, t)
	}
	for s := range h.subs {
		s.push(t)
	}
}

// Subscribe adds a reader.
func (h *Hub) Subscribe() *Subscription {
	s := &Subscription{hub: h, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.queue = append(h.configuration(), h.group...)
	s.waiting = len(h.group) == 0 && !h.sound
	s.ended = h.closed
	if !h.closed {
		h.subs[s] = struct{}{}
	}
	return s
}

// configuration is what a reader needs before the first picture. Sound comes first: who has seen the picture's knows whether there is any.
// h.mu is held.
func (h *Hub) configuration() (out []Tag) {
	for _, t := range []*Tag{h.script, h.audio, h.video} {
		if t != nil {
			out = append(out, *t)
		}
	}
	return out
}

// Forget drops the group that is kept for newcomers: they get a picture with the next key frame.
func (h *Hub) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.group = nil
}

// Close ends every subscription once its queue is empty.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		s.end()
	}
	clear(h.subs)
}

func (s *Subscription) push(t Tag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := t.Type == Script || t.IsVideoHeader() || t.IsAudioHeader()
	if len(s.queue) >= queueLimit && !s.waiting {
		s.dropped += uint64(len(s.queue))
		s.queue = s.hub.configuration() // the newest: what is thrown away may have held it
		s.waiting = !s.hub.sound
	}
	if s.waiting && t.IsKey() {
		s.waiting = false
	}
	if s.waiting && !config {
		s.dropped++
		return
	}
	if s.waiting { // nothing but configurations waits: the newest of each is enough
		s.queue = slices.DeleteFunc(s.queue, func(old Tag) bool { return old.Type == t.Type })
	}
	s.queue = append(s.queue, t)
	s.signal()
}

func (s *Subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next returns all tags that wait, as soon as there is one. It returns nil when the stream or ctx has ended.
func (s *Subscription) Next(ctx context.Context) []Tag {
	for {
		s.mu.Lock()
		tags, ended := s.queue, s.ended
		s.queue = nil
		s.mu.Unlock()
		if len(tags) > 0 {
			return tags
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
	}
}

// Backlog is how many tags wait and how many were dropped so far.
func (s *Subscription) Backlog() (waiting int, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue), s.dropped
}

// Close takes the reader out.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	delete(s.hub.subs, s)
	s.hub.mu.Unlock()
	s.end()
}
