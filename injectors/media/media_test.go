package media

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/ingest"
	"github.com/livedrill/livedrill/target/origin"
	"github.com/livedrill/livedrill/target/rtmp"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"ingest": ingest.Serve, "origin": origin.Serve})
	injectortest.Victim(faults)
	hoststest.Main(m)
}

// faults are all of them, put on the stream c, and told to do more than by default.
var faults = func() map[string]func() injectors.Fault {
	out := map[string]func() injectors.Fault{}
	for _, k := range Kinds {
		out[strings.TrimPrefix(k.Name, "media.")] = func() injectors.Fault {
			f := k.Default()
			switch f := f.(type) {
			case *Stream:
				f.Channel = "c"
			case *KeyLoss:
				f.Channel = "c"
			case *Shift:
				f.Channel, f.By = "c", unit.Duration(500*time.Millisecond)
			case *Narrow:
				f.Channel, f.To = "c", 90_000
			case *Spoil:
				f.Channel, f.Share = "c", 0.5
			}
			return f
		}
	}
	return out
}()

// anIngest is the platform's own, to which one stream is published by somebody who can leave.
func anIngest(t *testing.T, name string) (on target.Component, leave func()) {
	t.Helper()
	r := hoststest.Range(t)
	l, err := net.Listen("tcp4", hosts.BridgeAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/internal/publish") {
			fmt.Fprint(w, `{"channel":"c"}`)
		}
	}))
	gateway.Listener = l
	gateway.Start()
	t.Cleanup(gateway.Close)
	on, _ = hoststest.Component(t, r, target.Config{Name: name, Kind: "ingest", Peers: map[string]string{fmt.Sprintf("gateway:%d", target.PortHTTP): l.Addr().String(),
		fmt.Sprintf("transcode:%d", target.PortHTTP): l.Addr().String()}}, map[string]int{"rtmp": target.PortRTMP, "http": target.PortHTTP})
	return on, publish(t, net.JoinHostPort(on.Addr, fmt.Sprint(target.PortRTMP)))
}

// TestPublisherLeaves: when the stream has gone on which a fault was seen, the ingest's own word is all that there is, and it must be the right one.
func TestPublisherLeaves(t *testing.T) {
	on, leave := anIngest(t, "left")
	f := faults["no-key-frames"]()
	restore := injectortest.Inject(t, f, on)
	leave()
	look := func(clean bool) {
		t.Helper()
		var m injectors.Measured
		var err error
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); target.Wait(t.Context(), 50*time.Millisecond) {
			if m, err = f.Effect(t.Context(), on); err == nil && m.N == 0 {
				break
			}
		}
		if err != nil || m.Bites || m.Clean != clean || !strings.Contains(m.Reason, "nobody publishes c") {
			t.Errorf("%+v, %v", m, err)
		}
	}
	look(false)
	restore()
	look(true)
}

// publish sends 25 pictures and 50 sounds a second until the test ends, or it is told to leave.
func publish(t *testing.T, addr string) (leave func()) {
	conn, err := rtmp.Dial(t.Context(), addr, "live", 5*time.Second)
	if err == nil {
		err = conn.Publish("key")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	leave = sync.OnceFunc(func() { stop(); <-over; conn.Close() })
	t.Cleanup(leave)
	go func() {
		defer close(over)
		send := func(tags ...flv.Tag) bool { return conn.WriteTags(tags) == nil }
		send(flv.Tag{Type: flv.Video, Data: []byte{0x17, 0, 0, 0, 0, 1}}, flv.Tag{Type: flv.Audio, Data: []byte{0xaf, 0, 0x12, 0x10}})
		start := time.Now()
		for i := 0; target.Wait(ctx, time.Until(start.Add(time.Duration(i)*20*time.Millisecond))); i++ {
			at := uint32(i * 20)
			if !send(flv.Tag{Type: flv.Audio, Timestamp: at, Data: []byte{0xaf, 1, 0x21}}) {
				return
			}
			if i%2 == 0 {
				first := byte(0x27)
				if i%50 == 0 {
					first = 0x17
				}
				// A frame of 1,000 bytes: 200 kbit/s.
				if !send(flv.Tag{Type: flv.Video, Timestamp: at, Data: append([]byte{first, 1, 0, 0, 0, 0, 0, 3, 0xe8, 0x65}, make([]byte, 999)...)}) {
					return
				}
			}
		}
	}()
	return leave
}

func TestConformance(t *testing.T) {
	for i, name := range slices.Sorted(maps.Keys(faults)) {
		if _, spoils := faults[name]().(*Spoil); spoils { // no fault of an ingest: TestSpoiledSegments
			continue
		}
		t.Run(name, func(t *testing.T) {
			on, _ := anIngest(t, fmt.Sprintf("ingest%d", i))
			t.Parallel()
			injectortest.Run(t, injectortest.Case{Kind: name, Like: unless(name, "no-key-frames"), New: faults[name], On: on,
				State: func() (any, error) { return target.HasBeenTold[target.Tampering](t.Context(), on, "ingest") }})
		})
	}
}

// unless names the case that is killed in the place of another: they differ in what an ingest or an origin is told alone.
func unless(name, killed string) string {
	if name == killed {
		return ""
	}
	return killed
}

func TestNamesOfStreams(t *testing.T) {
	for _, channel := range []string{"", strings.Repeat("a", 65)} {
		if err := (&tamper{Channel: channel}).Validate(); err == nil {
			t.Errorf("%q is taken for a stream", channel)
		}
	}
}

// TestSpoiledSegments feeds the platform's own origin as the transcoder does, and fetches from it as an edge does.
func TestSpoiledSegments(t *testing.T) {
	for _, name := range []string{"playlist-frozen", "segment-corrupt", "segment-missing"} {
		t.Run(name, func(t *testing.T) {
			on, _ := hoststest.Component(t, hoststest.Range(t), target.Config{Name: name, Kind: "origin", Peers: map[string]string{}}, map[string]int{"http": target.PortHTTP})
			t.Parallel()
			feed(t, on)
			if err := target.WaitUntil(t.Context(), 10*time.Second, func() bool {
				target.Wait(t.Context(), 50*time.Millisecond)
				_, err := (&Spoil{Channel: "c"}).newest(t.Context(), on)
				return err == nil
			}); err != nil {
				t.Fatalf("the origin has no playlist: %v", err)
			}
			injectortest.Run(t, injectortest.Case{Kind: name, Like: unless(name, "segment-missing"), New: faults[name], On: on,
				State: func() (any, error) { return target.HasBeenTold[target.Spoiling](t.Context(), on, "origin") }})
		})
	}
}

// feed puts a stream of one key frame a second to the origin, three seconds of it at once, until the test ends.
func feed(t *testing.T, on target.Component) {
	// Parameter sets of a baseline stream of 1920x1080 (ISO/IEC 14496-10, 7.3.2).
	sps := []byte{0x67, 0x42, 0xc0, 0x28, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc9, 0x20}
	config := append([]byte{0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x28, 0xff, 0xe1, 0, byte(len(sps))}, sps...)
	config = append(config, 1, 0, 4, 0x68, 0xce, 0x3c, 0x80)
	read, write := io.Pipe()
	over := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(over)
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+net.JoinHostPort(on.Addr, fmt.Sprint(target.PortHTTP))+"/live/c/main.flv", read)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	fed := make(chan struct{})
	t.Cleanup(func() { stop(); read.Close(); <-over; <-fed })
	go func() {
		defer close(fed)
		defer write.Close()
		buf := flv.Tag{Type: flv.Video, Data: config}.Append(append([]byte(nil), flv.Header...))
		for i := range 600 {
			buf = flv.Tag{Type: flv.Video, Timestamp: uint32(1000 * i), Data: append([]byte{0x17, 1, 0, 0, 0, 0, 0, 3, 0xe8, 0x65}, make([]byte, 999)...)}.Append(buf)
			if i < 3 {
				continue
			}
			if _, err := write.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
			if !target.Wait(ctx, time.Second) {
				return
			}
		}
	}()
}

func FuzzLastOf(f *testing.F) {
	for _, text := range []string{"", "#EXTM3U\n#EXTINF:1,\n7.ts\n", "-1.ts", "x.ts\n", "99999999999999999999.ts"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := lastOf(text); err == nil && (n < 0 || !strings.Contains(text, ".ts")) {
			t.Errorf("%q has the segment %d", text, n)
		}
	})
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^(TestConformance|TestSpoiledSegments)$/./^is_proven")
}
