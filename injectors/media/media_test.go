package media

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/ingest"
	"github.com/livedrill/livedrill/target/rtmp"
	"github.com/livedrill/livedrill/target/unit"
)

// TestMain is the ingest too, when it is started for that.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		var c target.Config
		err := json.Unmarshal([]byte(os.Args[2]), &c)
		if err == nil {
			err = ingest.Serve(context.Background(), c)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	injectortest.Victim(faults)
	hoststest.Main(m)
}

// faults are those that are killed at every step; the sorts differ in what the ingest is told alone.
var faults = map[string]func() injectors.Fault{"skew": func() injectors.Fault { return of("skew") }}

func of(sort string) injectors.Fault {
	return &Stream{tamper: tamper{Channel: "c"}, Sort: sort, By: unit.Duration(500 * time.Millisecond)}
}

// server is the platform's own ingest, to which one stream is published.
func server(t *testing.T) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	host, err := r.AddHost("ingest-a")
	if err != nil {
		t.Fatal(err)
	}
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
	dir, err := os.MkdirTemp("", "ld") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := target.Config{Name: "ingest-a", Kind: "ingest", Listen: host.Addr, Socket: filepath.Join(dir, "s"), Peers: map[string]string{
		fmt.Sprintf("gateway:%d", target.PortHTTP): l.Addr().String(), fmt.Sprintf("transcode:%d", target.PortHTTP): l.Addr().String()}}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(hosts.Command{Name: "ingest-a", Path: "/proc/self/exe", Args: []string{"serve", string(text)}, Log: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(time.Second) })
	on := target.Component{Name: "ingest-a", Kind: "ingest", Addr: host.Addr, Socket: c.Socket, Handles: target.Handles{Network: host.Network()},
		Ports: map[string]int{"rtmp": target.PortRTMP, "http": target.PortHTTP}}
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool { return on.Healthy(t.Context()) == nil }); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v\n%s", err, log)
	}
	publish(t, net.JoinHostPort(host.Addr, fmt.Sprint(target.PortRTMP)))
	return on
}

// publish sends 25 pictures and 50 sounds a second until the test ends.
func publish(t *testing.T, addr string) {
	conn, err := rtmp.Dial(t.Context(), addr, "live", 5*time.Second)
	if err == nil {
		err = conn.Publish("key")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	t.Cleanup(func() { stop(); <-over; conn.Close() })
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
				if !send(flv.Tag{Type: flv.Video, Timestamp: at, Data: []byte{first, 1, 0, 0, 0, 0, 0, 0, 1, 0x65}}) {
					return
				}
			}
		}
	}()
}

func TestConformance(t *testing.T) {
	on := server(t)
	state := func() (any, error) {
		var now target.Tampering
		err := ask(t.Context(), on, http.MethodGet, nil, &now)
		return now, err
	}
	injectortest.Run(t, injectortest.Case{Kind: "skew", New: faults["skew"], On: on, State: state})
	for _, name := range slices.Sorted(maps.Keys(sorts)) {
		t.Run("a viewer sees "+name, func(t *testing.T) {
			f := of(name)
			was, err := f.Save(t.Context(), on)
			if err == nil {
				err = f.Inject(t.Context(), on)
			}
			if err != nil {
				t.Fatal(err)
			}
			if m, err := f.Effect(t.Context(), on); err != nil || !m.Bites || m.Clean {
				t.Errorf("in effect: %+v, %v", m, err)
			}
			if err := f.Restore(t.Context(), on, was); err != nil {
				t.Fatal(err)
			}
			if m, err := f.Effect(t.Context(), on); err != nil || m.Bites || !m.Clean {
				t.Errorf("after it: %+v, %v", m, err)
			}
		})
	}
}

func TestNamesOfStreams(t *testing.T) {
	for _, channel := range []string{"", strings.Repeat("a", 65)} {
		if err := (&tamper{Channel: channel}).Validate(); err == nil {
			t.Errorf("%q is taken for a stream", channel)
		}
	}
}
