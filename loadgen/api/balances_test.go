package api

import (
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/unit"
)

// TestStaleReads follows one user's coins: an account is stale only when it shows more than was known before it was asked for.
func TestStaleReads(t *testing.T) {
	m := loadgen.NewMeter(loadgen.Spec{Name: "test", Slice: loadgen.Whole, Start: time.Now(), For: unit.Duration(time.Second)})
	b := newBalances(m, 2)
	account := func(user int) request { return request{route: "account", user: user} }
	early := request{route: "account", user: 0, known: b.of(0)}
	for _, answer := range []struct {
		q    request
		body string
	}{
		{request{route: "gift", user: 0}, `{"key":"a","balance":90}`},
		{early, `{"balance":100}`},                          // asked for before the gift was answered: no promise was broken
		{account(0), `{"balance":90}`},                      // fresh
		{account(0), `{"balance":100}`},                     // stale
		{request{route: "gift", user: 0}, `{"balance":70}`}, // two gifts whose answers overtake each other
		{request{route: "gift", user: 0}, `{"balance":80}`}, // the lower one counts
		{account(0), `{"balance":80}`},                      // stale
		{account(0), `{"balance":60}`},                      // somebody else's gift, of which we know by this
		{account(0), `{"balance":70}`},                      // stale
		{request{route: "gift", user: 0}, `{"again":true}`}, // no balance
		{account(0), `nonsense`},                            // none either
		{account(1), `{"balance":1000}`},                    // another user
		{request{route: "room", user: 1}, `{"balance":1}`},  // not this request's to say
		{account(1), `{"balance":1000}`},                    // fresh
	} {
		if answer.q.known == 0 {
			answer.q.known = b.of(answer.q.user)
		}
		b.told(answer.q, []byte(answer.body))
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.Metric {
			for _, label := range metric.Label {
				if label.GetName() == "state" {
					got[label.GetValue()] = metric.GetCounter().GetValue()
				}
			}
		}
	}
	if got["stale"] != 3 || got["fresh"] != 5 {
		t.Errorf("%v, want 3 stale and 5 fresh", got)
	}
}
