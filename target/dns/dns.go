// Package dns is the platform's name server: every component is reached by a name, and every name is asked for here (RFC 1035).
package dns

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// ttl is short, so that a name's new address is known soon: in seconds.
const ttl = 1

type server struct {
	names   map[string]string // name to IPv4 address
	told    target.Told[target.Answers]
	results map[int]prometheus.Counter // by response code
}

// Serve runs the name server until ctx ends.
func Serve(ctx context.Context, c target.Config) error {
	metrics := record.NewMetrics()
	s := &server{names: c.Names, results: map[int]prometheus.Counter{}}
	for code, result := range map[int]string{dns.RcodeSuccess: "answered", dns.RcodeNameError: "nxdomain", dns.RcodeServerFailure: "servfail"} {
		s.results[code] = metrics.Counter("livedrill_dns_queries_total", "Questions by the answer.", prometheus.Labels{"result": result})
	}
	inner := http.NewServeMux()
	if err := s.told.Handle(inner, c.Socket); err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp4", c.Bind(target.PortDNS))
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	conns, err := net.Listen("tcp4", c.Bind(target.PortDNS))
	if err != nil {
		_ = packets.Close() // nothing was heard on it yet
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return target.Together(ctx,
		func(ctx context.Context) error { return s.serve(ctx, &dns.Server{PacketConn: packets}) },
		func(ctx context.Context) error { return s.serve(ctx, &dns.Server{Listener: conns}) },
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, inner, func(context.Context) error { return nil })
		})
}

// serve answers on one socket until ctx ends.
func (s *server) serve(ctx context.Context, on *dns.Server) error {
	on.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.answer(ctx, w, q) })
	begun := make(chan struct{})
	on.NotifyStartedFunc = sync.OnceFunc(func() { close(begun) })
	ended := make(chan error, 1)
	go func() { ended <- on.ActivateAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-begun: // before that it could not be told to end
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = on.Shutdown() // what it says comes out of the next line as well
	return <-ended
}

// answer answers one question.
func (s *server) answer(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) {
	told := s.told.Now()
	if len(q.Question) != 1 {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeFormatError)) // the client has gone: nothing to do
		return
	}
	name := strings.TrimSuffix(strings.ToLower(q.Question[0].Name), ".")
	hit := told.Name == "" || told.Name == name
	if hit && told.Slow > 0 && !target.Wait(ctx, told.Slow) {
		return
	}
	m := s.reply(q, name)
	switch {
	case !hit:
	case told.Code != dns.RcodeSuccess:
		m = new(dns.Msg).SetRcode(q, told.Code)
	case told.Stale != "":
		for _, record := range m.Answer {
			if a, ok := record.(*dns.A); ok {
				a.A = net.ParseIP(told.Stale).To4()
			}
		}
	}
	if c := s.results[m.Rcode]; c != nil {
		c.Inc()
	}
	_ = w.WriteMsg(m) // the client has gone: nothing to do
}

// reply is the right answer. A name that is there and has no address of the kind that was asked for has an answer without records (RFC
// 2308, 2.2).
func (s *server) reply(q *dns.Msg, name string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	addr, known := s.names[name]
	if !known {
		m.Rcode = dns.RcodeNameError
		return m
	}
	if ip := net.ParseIP(addr).To4(); ip != nil && slices.Contains([]uint16{dns.TypeA, dns.TypeANY}, q.Question[0].Qtype) {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: ip}}
	}
	return m
}

// Ask asks a name server for a name's IPv4 address, over a connection, at most for a limit and until ctx ends: the response code, the
// address if there is one, and how long it took.
func Ask(ctx context.Context, conn net.Conn, name string, limit time.Duration) (code int, addr string, took time.Duration, err error) {
	start := time.Now()
	c := &dns.Conn{Conn: conn}
	if err := c.SetDeadline(start.Add(limit)); err != nil {
		return 0, "", 0, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := c.WriteMsg(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)); err != nil {
		return 0, "", 0, err
	}
	m, err := c.ReadMsg()
	if err != nil {
		return 0, "", 0, err
	}
	for _, record := range m.Answer {
		if a, ok := record.(*dns.A); ok {
			addr = a.A.String()
		}
	}
	return m.Rcode, addr, time.Since(start), nil
}
