package network

import (
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/unit"
)

func nxdomain() injectors.Fault {
	return &DNS{Answer: "nxdomain", By: unit.Duration(100 * time.Millisecond)}
}

func TestDNS(t *testing.T) {
	on, _ := hoststest.Component(t, hoststest.Range(t), target.Config{Name: "dns", Kind: "dns", Peers: map[string]string{},
		Names: map[string]string{"dns": "10.77.0.8", "redis": "10.77.0.9"}}, map[string]int{"dns": target.PortDNS})
	injectortest.Run(t, injectortest.Case{Kind: "dns", New: nxdomain, On: on, Wrong: target.Component{Name: "origin", Kind: "origin"},
		State: func() (any, error) { return target.HasBeenTold[target.Answers](t.Context(), on, "dns") }})
	for _, answer := range []string{"servfail", "slow", "stale"} {
		f := &DNS{Answer: answer, Name: "redis", By: unit.Duration(100 * time.Millisecond)}
		if err := f.Check(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		if err := f.Inject(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		injectortest.Proven(t.Context(), t, f, on)
		other := &DNS{Answer: answer, Name: "dns", By: f.By}
		if m, err := other.Effect(t.Context(), on); err != nil || m.Bites {
			t.Errorf("%s: a name that is not hit: %+v, %v", answer, m, err)
		}
		if err := f.Restore(t.Context(), on, injectors.Original(`{}`)); err != nil {
			t.Fatal(err)
		}
		injectortest.Gone(t.Context(), t, f, on)
	}
	if err := (&DNS{Answer: "stale", Name: "nowhere", By: unit.Duration(time.Second)}).Check(t.Context(), on); err == nil {
		t.Error("a name that the server does not know is taken")
	}
}
