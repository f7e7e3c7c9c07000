package loadgen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/target"
)

// Why an arrival failed for the client, as far as the client can tell.
const (
	Unanswered  = "time-out"    // there was no answer in time
	Unreachable = "unreachable" // nobody listens, or there is no way to get there
	CutOff      = "cut-off"     // the server ended the connection
	Distrusted  = "certificate" // there is no agreement on TLS: mostly the certificate has ended, or nobody known has signed it
	Unknown     = "no-address"  // the server's name has no address
	Refused     = "refused"     // an answer that says no
	Pictureless = "no-picture"  // the server serves, and no picture comes
	Malformed   = "malformed"   // an answer that makes no sense in its protocol
	Otherwise   = "other"       // something on the client's own machine
)

var reasons = []string{Unanswered, Unreachable, CutOff, Distrusted, Unknown, Refused, Pictureless, Malformed, Otherwise}

// ErrPictureless is of a server that serves, and brings no picture.
var ErrPictureless = errors.New("no picture came")

// Failures counts the arrivals that failed for the client.
type Failures map[string]prometheus.Counter

func newFailures(m *Meter) Failures {
	f := Failures{}
	for _, r := range reasons {
		f[r] = m.Counter("livedrill_load_failed_total", "Arrivals that failed for the client.", m.Labels("reason", r))
	}
	return f
}

// Count counts one that failed with an error.
func (f Failures) Count(err error) { f[Why(err)].Inc() }

// Why sorts an error by what the client knows of its cause. The order matters: a name that is not answered in time is an unknown name.
func Why(err error) string {
	var (
		name     *net.DNSError
		verify   *tls.CertificateVerificationError
		alert    tls.AlertError
		record   tls.RecordHeaderError
		signer   x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		hostname x509.HostnameError
		network  net.Error
		system   syscall.Errno
	)
	switch {
	case errors.Is(err, target.ErrRefused):
		return Refused
	case errors.Is(err, ErrPictureless):
		return Pictureless
	case errors.As(err, &name):
		return Unknown
	case errors.As(err, &verify), errors.As(err, &alert), errors.As(err, &record), errors.As(err, &signer), errors.As(err, &invalid), errors.As(err, &hostname):
		return Distrusted
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return Unanswered
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return CutOff
	case errors.As(err, &system):
		return Otherwise
	case strings.HasSuffix(err.Error(), "http: server closed idle connection"): // net/http has no name for it
		return CutOff
	default: // there was an answer, and the client could make nothing of it
		return Malformed
	}
}
