package transcode

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLateGoodbye has one ingest say that its publication is over after the publisher has gone on at another one: that one's stream goes on.
func TestLateGoodbye(t *testing.T) {
	ended := false
	s := &server{streams: map[string]*stream{"show": {source: "http://ingest-b/live/show.flv?publication=2", cancel: func() { ended = true }}}}
	mux := http.NewServeMux()
	mux.HandleFunc("DELETE /streams/{channel}", s.remove)
	goodbye := func(source string) int {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/streams/show", strings.NewReader(`{"source":"`+source+`"}`)))
		return w.Code
	}
	if code := goodbye("http://ingest-a/live/show.flv?publication=1"); code != http.StatusOK || ended {
		t.Errorf("the goodbye of another publication is answered %d, and has ended the stream: %v", code, ended)
	}
	if code := goodbye("http://ingest-b/live/show.flv?publication=2"); code != http.StatusOK || !ended {
		t.Errorf("its own goodbye is answered %d, and has ended the stream: %v", code, ended)
	}
	if code := goodbye(`"`); code != http.StatusBadRequest {
		t.Errorf("nonsense is answered %d", code)
	}
}
