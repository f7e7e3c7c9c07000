package api

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/livedrill/livedrill/loadgen"
)

// Planned is one load as a scenario has it.
type Planned struct {
	Name string
	Seed uint64
	For  time.Duration
	*Load
}

//go:embed jmeter.jmx.tmpl
var jmeterPlan string

// mostPieces bounds the thread groups of a test plan.
const mostPieces = 1000

// sampler is one kind of request of a test plan.
type sampler struct {
	Name, Method, Host, Port, Scheme, Path, Body string
	Percent                                      float64
	Headers                                      [][2]string
}

// threads is one thread group of a test plan: a constant rate for some seconds.
type threads struct {
	Name              string
	Delay, For, Count int     // s, s, threads
	PerMinute         float64 // requests
	Samplers          []sampler
}

// WriteJMeter writes loads as a test plan that JMeter 2.13 and later run without plug-ins: for each part of a rate's curve a thread group
// that keeps its mean. JMeter is a closed loop: what the platform does not answer in time, it does not ask for.
func WriteJMeter(w io.Writer, plan, notes string, loads []Planned) error {
	text := template.Must(template.New("plan").Funcs(template.FuncMap{"xml": func(s string) (string, error) {
		var b strings.Builder
		err := xml.EscapeText(&b, []byte(s))
		return b.String(), err
	}}).Parse(jmeterPlan))
	var groups []threads
	users := 0
	for _, l := range loads {
		samplers, err := l.samplers()
		if err != nil {
			return err
		}
		for _, p := range pieces(l.Rate.Curve(), l.For) {
			groups = append(groups, threads{Name: fmt.Sprintf("%s from %d s", l.Name, p.from), Delay: p.from, For: p.to - p.from,
				Count: l.Connections, PerMinute: p.rate * 60, Samplers: samplers})
		}
		if l.URL == "" && l.Targets == "" {
			users = max(users, l.Users)
		}
	}
	if len(groups) > mostPieces {
		return fmt.Errorf("the rates have %d parts, and a test plan of more than %d thread groups is of no use: run it for a shorter time, or with another shape", len(groups), mostPieces)
	}
	logIn := ofPlatform("login", 100)
	logIn.Body = `{"name":"user${__intSum(${__counter(TRUE,)},-1,u)}","password":"pw-user${u}"}`
	return text.Execute(w, map[string]any{"Plan": plan, "Notes": notes, "Groups": groups, "Users": users, "LogIn": logIn})
}

// piece is a part of a load's curve: so many arrivals a second, between two whole seconds. JMeter knows no others.
type piece struct {
	from, to int
	rate     float64
}

// pieces cuts a curve, up to a time, wherever its rate changes from one second to the next.
func pieces(c loadgen.Curve, until time.Duration) (out []piece) {
	for second := range int((until + time.Second - 1) / time.Second) {
		from := time.Duration(second) * time.Second
		rate := c.Arrivals(min(from+time.Second, until)) - c.Arrivals(from)
		n := len(out)
		switch {
		case rate == 0:
		case n > 0 && out[n-1].to == second && same(out[n-1].rate, rate):
			out[n-1].to++
		default:
			out = append(out, piece{second, second + 1, rate})
		}
	}
	return out
}

// same tells whether two rates differ by rounding alone.
func same(a, b float64) bool { return a-b < 1e-6*b && b-a < 1e-6*b }

// samplers are the requests of a load.
func (l *Load) samplers() (out []sampler, err error) {
	own, err := l.ownTargets()
	if err != nil {
		return nil, err
	}
	if len(own) == 0 {
		for _, name := range requests {
			s := ofPlatform(name, float64(l.Mix[name])*100)
			switch name {
			case "login":
				s.Body = fmt.Sprintf(`{"name":"user${__Random(0,%d,u)}","password":"pw-user${u}"}`, l.Users-1)
			case "gift":
				s.Headers = append(s.Headers, [2]string{"Authorization", fmt.Sprintf("Bearer ${__property(livedrill.token.${__Random(0,%d)})}", l.Users-1)})
			}
			if s.Percent > 0 {
				out = append(out, s)
			}
		}
		return out, nil
	}
	for i, o := range own {
		u, err := url.Parse(o.URL)
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(o.Body) {
			return nil, fmt.Errorf("request %d: its body is no text, and a test plan has nothing else", i+1)
		}
		s := sampler{Name: literal(fmt.Sprintf("%d %s %s", i+1, o.Method, u.Path)), Method: o.Method, Host: u.Hostname(), Port: u.Port(), Scheme: u.Scheme, Path: u.RequestURI(),
			Body: literal(string(o.Body)), Percent: 100 / float64(len(own))}
		header := o.Header.Clone()
		if u.User != nil && header.Get("Authorization") == "" { // as a client of net/http has it
			password, _ := u.User.Password()
			if header == nil {
				header = http.Header{}
			}
			header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
		}
		for _, name := range slices.Sorted(maps.Keys(header)) {
			for _, v := range header[name] {
				s.Headers = append(s.Headers, [2]string{literal(name), literal(v)})
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// literal keeps JMeter from reading a user's own text as one of its functions: a function of ours gives the dollar. Only in a text with a
// function does it look for backslashes.
func literal(text string) string {
	if !strings.Contains(text, "${") {
		return text
	}
	return strings.NewReplacer(`\`, `\\`, "${", "${__char(36)}{").Replace(text)
}

// ofPlatform is a request for the bundled platform. Who makes it is for the caller to say.
func ofPlatform(name string, percent float64) sampler {
	s := sampler{Name: name, Host: "${HOST}", Port: "${PORT}", Scheme: "http", Percent: percent, Method: "POST", Headers: [][2]string{{"Content-Type", "application/json"}}}
	switch name {
	case "login":
		s.Path = "/v1/login"
	case "room":
		s.Method, s.Path, s.Headers = "GET", fmt.Sprintf("/v1/rooms/${__Random(0,%d)}", rooms-1), nil
	case "gift":
		s.Path = "/v1/gifts"
		s.Body = fmt.Sprintf(`{"key":"jmeter-${__time()}-${__threadNum}-${__counter(FALSE,)}","room":${__Random(0,%d)},"amount":%d}`, rooms-1, amount)
	}
	return s
}

// WriteTransactions writes every request that the loads would make as CSV: when it is due, in seconds from the first load on, and what it is.
func WriteTransactions(ctx context.Context, w io.Writer, loads []Planned) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"seconds", "load", "transaction", "user", "room"}); err != nil {
		return err
	}
	for _, l := range loads {
		m := &loadgen.Meter{Spec: loadgen.Spec{Name: l.Name, Seed: l.Seed, Slice: loadgen.Whole}}
		r := &run{Load: l.Load, m: m, rng: m.Rand(), canary: make([]bool, l.Users)}
		var err error
		if r.own, err = l.ownTargets(); err != nil {
			return err
		}
		curve := l.Rate.Curve()
		for n := uint64(0); ; n++ {
			due := curve.Due(n)
			if due >= l.For {
				break
			}
			if n%1000 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			q, _ := r.draw(n)
			if err := c.Write([]string{strconv.FormatFloat(due.Seconds(), 'f', 6, 64), l.Name, q.route, strconv.Itoa(q.user), strconv.Itoa(q.room)}); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}
