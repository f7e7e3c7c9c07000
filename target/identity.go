package target

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/livedrill/livedrill/reports/record"
)

// Certificate is what a component of the bundled platform is told of its own certificate.
type Certificate struct {
	Told bool          `json:"told,omitempty"`
	Left time.Duration `json:"left,omitempty"` // until it ends; negative: it has ended so long ago
}

// Identity is what a component shows to clients that speak TLS: a certificate of the platform's authority, and another one when it is told so.
type Identity struct {
	Changed func() // is told of each new certificate, if there is somebody to tell

	config    Config
	authority *Authority
	told      Told[Certificate]
	mu        sync.Mutex
	pair      *tls.Certificate
	pem       []byte // certificate and key
}

// NewIdentity gives a component its certificate. Where there is no authority, as in a test, it makes one that nobody trusts.
func NewIdentity(c Config, m *record.Metrics) (*Identity, error) {
	text := c.Secrets.Authority
	if text == "" {
		var err error
		if text, _, err = NewAuthority(); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	authority, err := ReadAuthority(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	i := &Identity{config: c, authority: authority}
	i.told.Changed = func(order Certificate) {
		if err := i.show(order); err != nil {
			slog.Error("certificate", "err", err)
		}
	}
	m.GaugeFunc("livedrill_tls_certificate_end_timestamp_seconds", "When the certificate that is shown ends.", nil, func() float64 {
		i.mu.Lock()
		defer i.mu.Unlock()
		return float64(i.pair.Leaf.NotAfter.Unix())
	})
	return i, i.show(Certificate{})
}

// show makes the certificate that is asked for and shows it from now on.
func (i *Identity) show(order Certificate) error {
	left := CertificateLife
	if order.Told {
		left = order.Left
	}
	certificate, key, err := i.authority.Issue(i.config.Name, i.config.Listen, time.Now().Add(left))
	if err != nil {
		return fmt.Errorf("%s: certificate: %w", i.config.Name, err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("%s: certificate: %w", i.config.Name, err)
	}
	i.mu.Lock()
	i.pair, i.pem = &pair, slices.Concat(certificate, key)
	i.mu.Unlock()
	if i.Changed != nil {
		i.Changed()
	}
	return nil
}

// Handle answers to orders, and says which certificate is to be shown by now.
func (i *Identity) Handle(mux *http.ServeMux) error {
	mux.HandleFunc("GET "+serialPath, func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(i.pair.Leaf.SerialNumber) // the client has gone: nothing to do
	})
	return i.told.Handle(mux, i.config.Socket)
}

const serialPath = "/certificate/serial"

// SerialNumber asks a component of a kind which certificate it is to show by now (RFC 5280, 4.1.2.2): its server may take a moment to do so.
func SerialNumber(ctx context.Context, on Component, kind string) (n *big.Int, err error) {
	err = on.order(ctx, kind, http.MethodGet, serialPath, nil, &n)
	return n, err
}

// PEM is the certificate that is shown, and its key behind it.
func (i *Identity) PEM() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.pem
}

// Server is for a server of our own. Nobody is let in with less than TLS 1.3.
func (i *Identity) Server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.pair, nil
	}}
}
