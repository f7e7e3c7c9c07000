// Package tls breaks what clients are to trust: certificates.
package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/unit"
)

// Expiry lets the certificate of a gateway or an edge run out, as when nobody renewed it: no new connection is made. Those that are there stay,
// but for idle ones of nginx, which reads its configuration anew. With some time left, clients see nothing, and whoever watches certificates should.
type Expiry struct {
	Left unit.Duration `json:"left" help:"time until it ends; 0s: it ended an hour ago"`
}

const (
	ended      = -time.Hour
	handshakes = 20              // of one look
	near       = 2 * time.Second // certificates have whole seconds (RFC 5280, 4.1.2.5), and take a moment to be made
	aged       = 5 * time.Minute // how long ago it may have been made when it is looked at
	least      = time.Hour       // that is left of one which is to be good for the whole hold
	farthest   = target.CertificateLife / 3
)

// Validate finds settings that cannot work.
func (f *Expiry) Validate() error {
	if d := time.Duration(f.Left); d != 0 && (d < least || d > farthest) {
		return fmt.Errorf("left: %s is neither 0s nor between %s and %s", f.Left, unit.Duration(least), unit.Duration(farthest))
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Expiry) BackEnd() string { return "certificate" }

func (f *Expiry) left() time.Duration {
	if f.Left == 0 {
		return ended
	}
	return time.Duration(f.Left)
}

// Check is part of injectors.Fault.
func (f *Expiry) Check(ctx context.Context, on target.Component) error {
	if on.Handles.TLS == nil {
		return errors.New("it shows no certificate")
	}
	if err := injectors.Untold[target.Certificate](ctx, on, on.Kind); err != nil {
		return err
	}
	s, err := look(ctx, on)
	if err == nil && s.refused > 0 {
		err = fmt.Errorf("its certificate is refused already: %w", s.why)
	}
	return err
}

// Save is part of injectors.Fault.
func (*Expiry) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Certificate](ctx, on, on.Kind)
}

// Inject is part of injectors.Fault.
func (f *Expiry) Inject(ctx context.Context, on target.Component) error {
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	if err = target.Tell(ctx, on, on.Kind, target.Certificate{Told: true, Left: f.left()}); err == nil {
		err = shows(ctx, on)
	}
	if err != nil { // the order may have arrived all the same
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, f.Restore(back, on, was))
	}
	return err
}

// Restore is part of injectors.Fault.
func (*Expiry) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	if err := injectors.RestoreTold[target.Certificate](ctx, on, on.Kind, was); err != nil {
		return err
	}
	return shows(ctx, on)
}

// shows waits until every client sees the certificate of the last order, and no other: a server reads it again in its own time, orders before
// it may still be on their way, and those of its processes that have an old one take connections a little longer.
func shows(ctx context.Context, on target.Component) error {
	last, err := target.SerialNumber(ctx, on, on.Kind)
	if err != nil {
		return err
	}
	if waited := target.WaitUntil(ctx, 3*time.Second, func() bool {
		for range handshakes {
			var s seen
			if s, err = handshake(ctx, on); err != nil || s.serial.Cmp(last) != 0 {
				return false
			}
		}
		return true
	}); waited != nil {
		return errors.Join(fmt.Errorf("the certificate that is shown: %w", waited), err)
	}
	return nil
}

// Effect shakes hands as clients do that trust the platform's authority: it reads the certificate, and counts how often it is refused as ended.
func (f *Expiry) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	s, err := look(ctx, on)
	if err != nil {
		return injectors.Measured{}, err
	}
	asked := 0.0
	if f.Left == 0 {
		asked = 1
	}
	refused := float64(s.refused) / handshakes
	m := injectors.Measured{N: handshakes, Asked: map[string]float64{"refused_ratio": asked, "left_seconds": f.left().Seconds()},
		Is: map[string]float64{"refused_ratio": refused, "left_seconds": s.left.Seconds()}}
	m.Bound("refused_ratio", handshakes)
	// The longer the hold, the less is left.
	m.Bites = refused == asked && s.left < f.left()+near && s.left > f.left()-aged
	m.Clean = s.refused == 0 && s.left > farthest+near
	m.Reason = fmt.Sprintf("%d of %d handshakes are refused, and the certificate ends in %s", s.refused, handshakes, s.left.Round(time.Second))
	if s.why != nil {
		m.Reason += ": " + s.why.Error()
	}
	return m, nil
}

// seen is what clients saw.
type seen struct {
	refused int
	why     error
	left    time.Duration
	serial  *big.Int
}

// look shakes hands a number of times. Anything but a certificate that has ended is an error.
func look(ctx context.Context, on target.Component) (all seen, err error) {
	for range handshakes {
		s, err := handshake(ctx, on)
		if err != nil {
			return all, err
		}
		all.left = s.left
		if all.refused += s.refused; s.why != nil {
			all.why = s.why
		}
	}
	return all, nil
}

func handshake(ctx context.Context, on target.Component) (s seen, err error) {
	addr, err := clients.InRange(on, "https")
	if err != nil {
		return s, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(on.Handles.TLS.Root)) {
		return s, errors.New("its authority has no certificate")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var conn net.Conn
	if err := hosts.InNamespace(on.Handles.Network.Namespace, func() (err error) { // whatever else is wrong with the link
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		return err
	}); err != nil {
		return s, err
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return s, err
	}
	secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted, ServerName: host})
	err = secure.HandshakeContext(ctx)
	var refused *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &refused) && errors.As(err, &invalid) && invalid.Reason == x509.Expired && len(refused.UnverifiedCertificates) > 0:
		shown := refused.UnverifiedCertificates[0]
		return seen{1, invalid, time.Until(shown.NotAfter), shown.SerialNumber}, nil
	case err != nil:
		return s, err
	}
	shown := secure.ConnectionState().PeerCertificates[0]
	return seen{left: time.Until(shown.NotAfter), serial: shown.SerialNumber}, nil
}

// Kinds lists the faults of what clients are to trust.
var Kinds = []injectors.Kind{
	{Name: "tls.expiry", Summary: "a certificate has run out, or soon will", BackEnds: []string{"certificate"}, On: "gateway, edge", Takes: "certificate, processes",
		Default: func() injectors.Fault { return &Expiry{} }},
}
