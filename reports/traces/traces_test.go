package traces

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)

// lasted is a span from one millisecond to another.
func lasted(id, parent, name, service, peer string, from, to int) Span {
	s := Span{Trace: "aa", ID: id, Parent: parent, Name: name, Service: service, Kind: Internal, With: map[string]string{},
		From: t0.Add(time.Duration(from) * time.Millisecond), To: t0.Add(time.Duration(to) * time.Millisecond)}
	if peer != "" {
		s.With[Peer] = peer
	}
	return s
}

// gift is a request that Redis refuses.
func gift() []Span {
	all := []Span{lasted("1", "", "gift", "load-shop-north", "gateway", 0, 20), lasted("2", "1", "gift", "gateway", "", 2, 18),
		lasted("3", "2", "setnx", "gateway", "redis", 3, 5), lasted("4", "2", "sql.conn.query", "gateway", "mariadb", 6, 16)}
	for _, i := range []int{0, 1, 2} {
		all[i].Failed, all[i].Why = true, "OOM"
	}
	return all
}

// TestBroken names the hop in which a request broke, and not those that only told of it.
func TestBroken(t *testing.T) {
	all := Group(gift())
	if len(all) != 1 || len(all[0].Spans) != 4 {
		t.Fatalf("%+v", all)
	}
	if s, broken := all[0].Broken(); !broken || s.Hop() != "redis" {
		t.Errorf("it broke in %q", s.Hop())
	}
	dead := Group(gift()[:1]) // nobody answered
	if s, broken := dead[0].Broken(); !broken || s.Hop() != "gateway" {
		t.Errorf("without an answer it broke in %q", s.Hop())
	}
	if none := Group(gift()[1:]); len(none) != 0 {
		t.Errorf("a trace without its first span: %+v", none)
	}
}

// TestHeldUp finds the part whose own time grew, and not those that waited for it.
func TestHeldUp(t *testing.T) {
	var quiet []Span
	for i := range 20 {
		for _, s := range gift() {
			s.Trace = string(rune('a' + i))
			quiet = append(quiet, s)
		}
	}
	slow := gift()
	for i, by := range []int{100, 100, 0, 100} { // MariaDB takes 100 ms longer, and so do all that wait for it
		slow[i].To = slow[i].To.Add(time.Duration(by) * time.Millisecond)
	}
	part, above := Group(slow)[0].HeldUp(UsualOf(Group(quiet)))
	if part.Hop != "mariadb" || above != 100*time.Millisecond {
		t.Errorf("held up by %s in %s", above, part.Hop)
	}
}

// TestPictures: a picture is a trace of its own for each viewer who saw it.
func TestPictures(t *testing.T) {
	all := []Span{lasted("1", "", Picture, "transcode", "", 0, 80), lasted("2", "1", "ingest", "transcode", "ingest", 0, 10), lasted("3", "1", "transcode", "transcode", "transcode", 10, 80),
		lasted("4", "1", Watch, "load-viewers-north", "edge-north", 0, 5000), lasted("5", "1", Watch, "load-viewers-south", "edge-south", 0, 1200)}
	seen := Group(all)
	if len(seen) != 2 || seen[0].Took() != 5*time.Second || seen[1].Took() != 1200*time.Millisecond {
		t.Fatalf("%+v", seen)
	}
	want := []Part{{Picture, "transcode", 0}, {"ingest", "ingest", 10 * time.Millisecond}, {"transcode", "transcode", 70 * time.Millisecond}, {Watch, "edge-north", 4920 * time.Millisecond}}
	if got := seen[0].Parts(); !reflect.DeepEqual(got, want) {
		t.Errorf("its parts are %v, want %v", got, want)
	}
}

// TestRead reads what was written, but for what is torn or cannot be.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, Dir), 0o755); err != nil {
		t.Fatal(err)
	}
	line, err := Line("gateway", gift())
	if err != nil {
		t.Fatal(err)
	}
	backwards, err := Line("gateway", []Span{lasted("9", "", "x", "", "", 5, 1)})
	if err != nil {
		t.Fatal(err)
	}
	text := append(append(append(line[:len(line):len(line)], backwards...), "null\n{}\n"...), line[:len(line)/2]...)
	if err := os.WriteFile(filepath.Join(dir, Dir, "gateway.jsonl"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	always := func(time.Time) bool { return true }
	got := Read(dir, always)
	if len(got) != 4 {
		t.Fatalf("%d spans", len(got))
	}
	for i, want := range gift() {
		want.Service = "gateway"
		got[i].From, got[i].To = got[i].From.UTC(), got[i].To.UTC()
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("%+v\nwas %+v", got[i], want)
		}
	}
	if got := Read(t.TempDir(), always); got != nil {
		t.Errorf("a run without traces: %v", got)
	}
	if got := Read(dir, func(time.Time) bool { return false }); got != nil {
		t.Errorf("nobody asked for %v", got)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, Dir, "fifo.jsonl"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop.jsonl", filepath.Join(dir, Dir, "loop.jsonl")); err != nil {
		t.Fatal(err)
	}
	if got := Read(dir, always); len(got) != 4 {
		t.Errorf("%d spans beside what is no file", len(got))
	}
}

// TestHostile: traces that no run has made end in time and memory that a run's own would take.
func TestHostile(t *testing.T) {
	var chain, crowd []Span
	at := time.Unix(0, 0)
	for i := range 100_000 {
		id := fmt.Sprint(i)
		chain = append(chain, Span{Trace: "a", ID: id, Parent: fmt.Sprint(i - 1), From: at, To: at})
		name := Watch
		if i%2 == 0 {
			name = "part"
		}
		crowd = append(crowd, Span{Trace: "b", ID: id, Parent: "0", Name: name, From: at, To: at})
	}
	chain[0].Parent = ""
	crowd[0].Parent, crowd[0].Name = "", Picture
	deepest, spans := 0, 0
	for _, x := range Group(append(chain, crowd...)) {
		spans += len(x.Spans)
		for _, d := range x.Depth {
			deepest = max(deepest, d)
		}
	}
	if deepest >= mostParts || spans > 50_000*(mostParts+3) {
		t.Errorf("%d deep, %d spans in all", deepest, spans)
	}
}

func FuzzRead(f *testing.F) {
	line, err := Line("gateway", gift())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"a","spanId":"1","parentSpanId":"2","startTimeUnixNano":"1","endTimeUnixNano":"2"},{"traceId":"a","spanId":"2","startTimeUnixNano":"1","endTimeUnixNano":"2","status":{"code":2}}]}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var spans []Span
		read(bytes.NewReader(text), func(s Span) bool {
			spans = append(spans, s)
			return true
		})
		all := Group(spans)
		usual := UsualOf(all)
		for _, x := range all {
			if len(x.Spans) != len(x.Depth) || x.Took() < 0 {
				t.Errorf("%+v", x)
			}
			x.Broken()
			x.HeldUp(usual)
		}
	})
}
