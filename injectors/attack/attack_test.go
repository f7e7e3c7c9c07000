package attack

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/rtmp"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var faults = func() map[string]func() injectors.Fault {
	out := map[string]func() injectors.Fault{
		"slowloris": func() injectors.Fault {
			return &Slowloris{Connections: 20, Every: unit.Duration(100 * time.Millisecond)}
		},
		"syn flood": func() injectors.Fault { return &SYN{Repeated: clients.Repeated{Rate: 500, Clients: 5}, Port: "http"} },
		"key guess": func() injectors.Fault { return &Keys{clients.Repeated{Rate: 20, Clients: 5}} },
	}
	for _, sort := range []string{"flood", "forge"} { // the others differ in what is asked for alone
		out[sort] = func() injectors.Fault {
			return &Requests{Repeated: clients.Repeated{Rate: 50, Clients: 10}, Sort: sort}
		}
	}
	return out
}()

// victim is a gateway and an ingest that turn everybody away, on a host of a range.
func victim(t *testing.T) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	host, err := r.AddHost("victim")
	if err != nil {
		t.Fatal(err)
	}
	listen := func(port int) (l net.Listener) {
		if err := host.Do(func() (err error) {
			l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", host.Addr, port))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return l
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/rooms/") {
			return
		}
		http.Error(w, "no", http.StatusUnauthorized)
	})}
	over := make(chan struct{})
	go func() { defer close(over); _ = web.Serve(listen(80)) }()
	live := listen(1935)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := live.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				if c, request, err := rtmp.Accept(nc, time.Second); err == nil {
					_ = c.Refuse(request, "no such key")
				}
			})
		}
	})
	t.Cleanup(func() { web.Close(); live.Close(); wg.Wait(); <-over })
	return target.Component{Name: "victim", Addr: host.Addr, Ports: map[string]int{"http": 80, "rtmp": 1935}, Handles: target.Handles{Network: host.Network()}}
}

func TestConformance(t *testing.T) {
	on := victim(t)
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			injectortest.Run(t, injectortest.Case{Kind: name, Like: map[string]string{"forge": "flood", "key guess": "flood"}[name], New: faults[name], On: on, State: func() (any, error) { return state(t.Context(), on) }})
		})
	}
}

// state is all that attacks may leave: one that goes on, and connections, once the kernel has closed those of a victim.
func state(ctx context.Context, on target.Component) (any, error) {
	going, n := injectors.Begun(clients.Name(on)), 0
	var err error
	_ = target.WaitUntil(ctx, time.Second, func() bool {
		n, err = clients.Connections(on)
		return err != nil || n == 0 || going
	})
	return fmt.Sprintf("going on %v, connections %v", going, n > 0 && !going), err
}

func TestNothingOutsideOfARange(t *testing.T) {
	for name, on := range map[string]target.Component{
		"no range":       {Addr: "192.0.2.1", Ports: map[string]int{"http": 80}},
		"another's link": {Addr: "192.0.2.1", Ports: map[string]int{"http": 80}, Handles: target.Handles{Network: &target.Network{Addr: "10.77.0.2"}}},
		"public address": {Addr: "192.0.2.1", Ports: map[string]int{"http": 80}, Handles: target.Handles{Network: &target.Network{Addr: "192.0.2.1"}}},
	} {
		for kind, f := range faults {
			if err := f().Check(t.Context(), on); err == nil {
				t.Errorf("%s: %s would be carried out", name, kind)
			}
		}
	}
}

// TestForgeriesAreForged: each token must be one that a careful service refuses, and look like one that it might take.
func TestForgeriesAreForged(t *testing.T) {
	for i, forge := range forgeries[:len(forgeries)-1] {
		if n := strings.Count(forge(), "."); n != 2 {
			t.Errorf("forgery %d has %d dots: it would be refused for its form alone", i, n)
		}
	}
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/./^is_proven") }
