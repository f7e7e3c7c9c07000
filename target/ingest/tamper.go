package ingest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// tampering is what is done to every stream that comes in.
type tampering = target.Tampering

// tampers reads what is to be done now.
func (s *server) tampers() tampering {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tampered
}

func (s *server) tampering(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(s.tampers()) // the client has gone: nothing to do
}

// tamper takes an order, which says when it was given (?at=, nanoseconds of the Unix epoch). One that was overtaken by a later one is
// dropped: it may be the last word of a process that was killed, and whose fault was restored meanwhile.
func (s *server) tamper(w http.ResponseWriter, r *http.Request) {
	var t tampering
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&t)
	at, atErr := strconv.ParseInt(r.URL.Query().Get("at"), 10, 64)
	if err = errors.Join(err, atErr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at < s.ordered {
		return
	}
	if s.tampered, s.ordered = t, at; t.NoKeyFrames {
		for _, hub := range s.streams {
			hub.Forget()
		}
	}
}

// tampered is how far one stream is from what its publisher sent. It goes back to that when nothing is done to it any more.
type tampered struct{ began time.Time } // of a drift

// apply does it to one tag, and tells whether the tag goes on. Headers of codecs always do: a newcomer needs them.
func (d *tampered) apply(t tampering, tag flv.Tag) (flv.Tag, bool) {
	header := tag.IsVideoHeader() || tag.IsAudioHeader() || tag.Type == flv.Script
	switch {
	case t.Stall && !header,
		t.NoKeyFrames && tag.IsKey(),
		t.NoAudio && tag.Type == flv.Audio && !header:
		return tag, false
	}
	var shift int64
	if t.Drift == 0 {
		d.began = time.Time{}
	} else {
		if d.began.IsZero() {
			d.began = time.Now()
		}
		shift += int64(t.Drift * float64(time.Since(d.began).Milliseconds()))
	}
	if tag.Type == flv.Audio {
		shift += t.Skew.Milliseconds()
	}
	tag.Timestamp = uint32(max(int64(tag.Timestamp)+shift, 0))
	return tag, true
}
