package attack

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

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

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"http-flood": requests("flood", 50),
	"slowloris": func() injectors.Fault {
		return &Slowloris{Connections: 20, Every: unit.Duration(100 * time.Millisecond)}
	},
	"syn-flood":    func() injectors.Fault { return &SYN{Repeated: clients.Repeated{Rate: 500, Clients: 5}, Port: "http"} },
	"key-guessing": func() injectors.Fault { return &Keys{Repeated: clients.Repeated{Rate: 20, Clients: 5}} },
})

// victim is a gateway and an ingest that turn everybody away, on a host of a range.
func victim(t *testing.T, name string) target.Component {
	t.Helper()
	r := hoststest.Range(t)
	host, err := r.AddHost(name)
	if err != nil {
		t.Fatal(err)
	}
	hoststest.Web(t, host, 80, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/rooms/") {
			return
		}
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	live := hoststest.Listen(t, host, 1935)
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
	t.Cleanup(func() { live.Close(); wg.Wait() })
	return target.Component{Name: name, Addr: host.Addr, Ports: map[string]int{"http": 80, "rtmp": 1935}, Handles: target.Handles{Network: host.Network()}}
}

func TestConformance(t *testing.T) {
	for i, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			on := victim(t, fmt.Sprintf("victim%d", i))
			t.Parallel()
			c := injectortest.Case{Kind: name, New: faults[name], On: on, State: func() (any, error) { return injectortest.Strangers(t.Context(), on) }}
			if _, ok := faults[name]().(*Requests); ok && name != "http-flood" || name == "key-guessing" {
				c.Like = "http-flood"
			}
			injectortest.Run(t, c)
		})
	}
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

// TestSameSeedSameAttack: what is drawn is drawn by the seed.
func TestSameSeedSameAttack(t *testing.T) {
	to := net.IPv4(10, 77, 0, 2).To4()
	packet := func(seed, n uint64) string { return string(synTo(to, 80, drawn(seed, n))) }
	for what, of := range map[string]func(seed, n uint64) string{"packets": packet, "keys": key} {
		first, again := of(1, 5), of(1, 5)
		if first != again || first == of(2, 5) || first == of(1, 9) {
			t.Errorf("%s are not those of their seed and number", what)
		}
	}
}

// TestForgeriesAreForged: each token must be one that a careful service refuses, and look like one that it might take. Of the old one nothing but
// its time is wrong.
func TestForgeriesAreForged(t *testing.T) {
	const key = "the gateway's own"
	old := 0
	for i, forge := range forgeries[:len(forgeries)-1] {
		raw := forge(key)
		if n := strings.Count(raw, "."); n != 2 {
			t.Errorf("forgery %d has %d dots: it would be refused for its form alone", i, n)
		}
		_, err := jwt.Parse(raw, func(*jwt.Token) (any, error) { return []byte(key), nil }, jwt.WithValidMethods([]string{"HS256"}))
		if err == nil {
			t.Errorf("forgery %d is taken", i)
		}
		if errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
			old++
		}
	}
	if old != 1 {
		t.Errorf("%d of them are refused for their time alone", old)
	}
}

// TestWithoutRights does it once more in a user namespace.
func TestWithoutRights(t *testing.T) { injectortest.AsUser(t, "^TestConformance$/./^is_proven") }
