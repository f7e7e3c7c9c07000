package target

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// obedient is a component that is told what its clock says.
func obedient(t *testing.T, socket string) (told *Told[Clock], on Component, end func()) {
	t.Helper()
	told = &Told[Clock]{}
	mux := http.NewServeMux()
	if err := told.Handle(mux, socket); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }() // it ends with Close
	return told, Component{Name: "gateway", Kind: "gateway", Socket: socket}, func() {
		_ = server.Close()
		_ = l.Close() // the server may not have had it yet
	}
}

// TestToldOverARestart: who starts a component anew does not mend it, and one that was mended stays so.
func TestToldOverARestart(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	for _, order := range []Clock{{Ahead: time.Hour}, {}} {
		_, on, end := obedient(t, socket)
		if err := Tell(t.Context(), on, "gateway", order); err != nil {
			t.Fatal(err)
		}
		end()
		again, _, end := obedient(t, socket)
		if again.Now() != order {
			t.Errorf("after a restart it has %+v, want %+v", again.Now(), order)
		}
		end()
	}
}

// TestOvertakenOrder refuses what was sent before the last order, by a process that was killed meanwhile; over a restart too.
func TestOvertakenOrder(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	_, on, end := obedient(t, socket)
	if err := Tell(t.Context(), on, "gateway", Clock{}); err != nil {
		t.Fatal(err)
	}
	end()
	told, on, end := obedient(t, socket)
	defer end()
	put := func(at string) int {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", on.Socket)
		}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://unix/told/Clock?at="+at, strings.NewReader(`{"ahead": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for at, want := range map[string]int{"1": http.StatusConflict, "9223372036854775807": http.StatusBadRequest, "": http.StatusBadRequest} {
		if got := put(at); got != want || told.Now() != (Clock{}) {
			t.Errorf("at %q: %d and %+v, want %d and nothing", at, got, told.Now(), want)
		}
	}
}

// TestOrderThatCannotBeKept is refused: a component that would forget it must not take it.
func TestOrderThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	told, on, end := obedient(t, socket)
	defer end()
	if err := os.Mkdir(socket+".Clock.new", 0o700); err != nil { // root could write into a directory without rights
		t.Fatal(err)
	}
	if err := Tell(t.Context(), on, "gateway", Clock{Ahead: time.Hour}); err == nil || told.Now() != (Clock{}) {
		t.Errorf("%v, and it has %+v", err, told.Now())
	}
	if err := os.WriteFile(socket+".Clock", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := new(Told[Clock]).Handle(http.NewServeMux(), socket); err == nil {
		t.Error("half an order is taken for none")
	}
}

// TestTellLater gives a dead component its order for when it is started anew, and a live one at once.
func TestTellLater(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	_, on, end := obedient(t, socket)
	if err := Tell(t.Context(), on, "gateway", Clock{Ahead: time.Hour}); err != nil {
		t.Fatal(err)
	}
	end()
	if err := TellLater(t.Context(), on, "gateway", Clock{}); err != nil {
		t.Fatal(err)
	}
	again, on, end := obedient(t, socket)
	defer end()
	if again.Now() != (Clock{}) {
		t.Errorf("it is started anew, and has %+v", again.Now())
	}
	if err := TellLater(t.Context(), on, "gateway", Clock{Ahead: time.Minute}); err != nil || again.Now().Ahead != time.Minute {
		t.Errorf("%v, and it has %+v", err, again.Now())
	}
}
