package api

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/unit"
)

// shaped is the usual load with another rate.
func shaped(t *testing.T, rate string) Planned {
	t.Helper()
	l := Default().(*Load)
	if err := l.Rate.UnmarshalText([]byte(rate)); err != nil {
		t.Fatal(err)
	}
	return Planned{Name: "shop & <co>", Seed: 7, For: 40*time.Second + 500*time.Millisecond, Load: l}
}

// node is any element of a test plan.
type node struct {
	XMLName  xml.Name
	Name     string `xml:"name,attr"`
	Text     string `xml:",chardata"`
	Label    string `xml:"testname,attr"`
	Children []node `xml:",any"`
}

func (n node) find(kind string) (out []node) {
	if n.XMLName.Local == kind {
		out = append(out, n)
	}
	for _, c := range n.Children {
		out = append(out, c.find(kind)...)
	}
	return out
}

func (n node) property(t *testing.T, name string) float64 {
	t.Helper()
	for _, c := range n.Children {
		if c.Name == name || c.XMLName.Local == name {
			v, err := strconv.ParseFloat(c.Text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no %s in %+v", name, n)
	return 0
}

// TestJMeterKeepsRates: the thread groups of a plan make as many requests as the load, second by second, whatever its shape.
func TestJMeterKeepsRates(t *testing.T) {
	for _, rate := range []string{"60/s", "0.2/s", "10/s spike to=500/s at=5s over=2s", "5/s bursts to=100/s every=7s", "1/s wave to=50/s every=13s", "0/s to=100/s over=10s"} {
		l := shaped(t, rate)
		var b bytes.Buffer
		if err := WriteJMeter(&b, "p", "n", []Planned{l}); err != nil {
			t.Fatal(err)
		}
		var plan node
		if err := xml.Unmarshal(b.Bytes(), &plan); err != nil {
			t.Fatalf("%s: %v", rate, err)
		}
		groups, timers := plan.find("ThreadGroup"), plan.find("ConstantThroughputTimer")
		made, end := 0.0, 0.0
		for i, g := range groups {
			delay, lasts := g.property(t, "ThreadGroup.delay"), g.property(t, "ThreadGroup.duration")
			if delay < end || !strings.HasPrefix(g.Label, l.Name) {
				t.Errorf("%s: group %q begins at %g s, before %g s", rate, g.Label, delay, end)
			}
			end = delay + lasts
			made += timers[i].Children[1].property(t, "value") / 60 * lasts
			if upto := min(l.For, time.Duration(end)*time.Second); math.Abs(made-l.Rate.Curve().Arrivals(upto)) > 1e-3 {
				t.Errorf("%s: %g requests up to %s, want %g", rate, made, upto, l.Rate.Curve().Arrivals(upto))
			}
		}
	}
}

// TestJMeterKeepsTheMix: each request has its share; one without any is left out.
func TestJMeterKeepsTheMix(t *testing.T) {
	l := shaped(t, "60/s")
	l.Mix = map[string]unit.Ratio{"login": 0.25, "room": 0.75}
	var b bytes.Buffer
	if err := WriteJMeter(&b, "p", "n", []Planned{l}); err != nil {
		t.Fatal(err)
	}
	var plan node
	if err := xml.Unmarshal(b.Bytes(), &plan); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, c := range plan.find("ThroughputController") {
		got[c.Label] = c.find("FloatProperty")[0].property(t, "value")
	}
	if len(got) != 2 || got["login"] != 25 || got["room"] != 75 {
		t.Errorf("shares %v", got)
	}
}

// TestTransactions: the list has the very requests that a run makes, at the times at which they are due.
func TestTransactions(t *testing.T) {
	l := shaped(t, "100/s")
	var b bytes.Buffer
	if err := WriteTransactions(t.Context(), &b, []Planned{l}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if want := int(l.Rate.Curve().Count(l.For)); len(rows)-1 != want {
		t.Errorf("%d transactions, want %d", len(rows)-1, want)
	}
	m := &loadgen.Meter{Spec: loadgen.Spec{Name: l.Name, Seed: l.Seed, Slice: loadgen.Whole}}
	r := &run{Load: l.Load, m: m, rng: m.Rand(), canary: make([]bool, l.Users)}
	for n := range uint64(len(rows) - 1) {
		q, _ := r.draw(n)
		row, due := rows[n+1], l.Rate.Curve().Due(n)
		if row[1] != l.Name || row[2] != q.route || row[3] != strconv.Itoa(q.user) || row[0] != strconv.FormatFloat(due.Seconds(), 'f', 6, 64) {
			t.Fatalf("transaction %d is %v, want %+v at %s", n, row, q, due)
		}
	}
}

// TestJMeterOfOwnRequests: what a user's own requests hold is sent as it is, and what a plan cannot hold is refused.
func TestJMeterOfOwnRequests(t *testing.T) {
	own := func(line string) (node, error) {
		l := shaped(t, "1/s")
		l.Targets = filepath.Join(t.TempDir(), "targets.json")
		if err := os.WriteFile(l.Targets, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteJMeter(&b, "p", "n", []Planned{l}); err != nil {
			return node{}, err
		}
		var plan node
		return plan, xml.Unmarshal(b.Bytes(), &plan)
	}
	body := base64.StdEncoding.EncodeToString([]byte(`{"a":"\n ${__time()} <&>"}`))
	plan, err := own(`{"method":"POST","url":"http://u:p@127.0.0.1:9/${x}?a=1&b=2","header":{"X-Y":["${__BeanShell(1)}"]},"body":"` + body + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]bool{}
	for _, p := range plan.find("stringProp") {
		text[p.Text] = true
	}
	for _, want := range []string{`{"a":"\\n ${__char(36)}{__time()} <&>"}`, "${__char(36)}{__BeanShell(1)}", "Basic dTpw", "/$%7Bx%7D?a=1&b=2"} {
		if !text[want] {
			t.Errorf("no %q in %v", want, text)
		}
	}
	if _, err := own(`{"method":"POST","url":"http://127.0.0.1:9/","body":"` + base64.StdEncoding.EncodeToString([]byte{1, 0xff}) + `"}`); err == nil {
		t.Error("a body that is no text was taken")
	}
}
