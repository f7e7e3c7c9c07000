package target

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// CertificateLife is how long a component's certificate is good for.
const CertificateLife = 90 * 24 * time.Hour

// Authority signs the certificates of one run's platform, and of no other: whoever trusts it trusts nothing else.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority, as PEM: its key and its certificate, and the certificate alone.
func NewAuthority() (authority, root string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	own := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "livedrill range"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(2 * CertificateLife), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	if err != nil {
		return "", "", err
	}
	secret, err := keyPEM(key)
	root = string(certificatePEM(der))
	return string(secret) + root, root, err
}

// ReadAuthority reads what NewAuthority has made.
func ReadAuthority(text string) (*Authority, error) {
	pair, err := tls.X509KeyPair([]byte(text), []byte(text))
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("authority: its key is of another kind")
	}
	return &Authority{pair.Leaf, key}, nil
}

// Issue makes a key and a certificate, both in PEM, for a server of that name at that address (RFC 5280, 4.2.1.6), good until the given time.
func (a *Authority) Issue(name, addr string, ends time.Time) (certificate, key []byte, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: ends.Add(-CertificateLife - time.Hour), NotAfter: ends, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(addr); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, own.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = keyPEM(own)
	return certificatePEM(der), key, err
}

// ClientTLS is what the platform's clients speak: TLS 1.3, and they trust the platform's authority alone.
func (s Secrets) ClientTLS() (*tls.Config, error) {
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(s.Root)) {
		return nil, errors.New("the platform has no authority that could be trusted")
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted}, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}
