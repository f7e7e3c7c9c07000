package rtc

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"
)

// Sender is a publisher by WHIP for whom a packet costs little: ICE, DTLS and SRTP are the library's, as in every other connection, but a frame is
// encrypted and sent by whoever has it, with one system call.
type Sender struct {
	// AskedForKey is called for each request for a key frame.
	AskedForKey func()

	cert    tls.Certificate
	agent   *ice.Agent
	udp     *net.UDPConn
	mux     *ice.UDPMuxDefault
	conn    *ice.Conn
	pipe    *packetio.Buffer // what is DTLS of what comes
	secure  *dtls.Conn
	picture *stream
	sound   *stream // nil: there is none
	reading sync.WaitGroup

	out      *srtp.Context // with all below for one goroutine: the one that sends
	plain    []byte
	batch    *datagrams // nil: the way is not UDP
	waiting  [][]byte   // packets of the frame
	unsent   int
	reported time.Time

	mu    sync.Mutex    // of what is kept of both streams, and of these
	in    *srtp.Context // used by the reader alone
	ended error
}

// The payload types that are offered.
const (
	h264Payload = 102
	opusPayload = 111
)

// NewSender makes a publisher that is not connected yet.
func (p *Peers) NewSender(sound bool) (s *Sender, err error) {
	s = &Sender{AskedForKey: func() {}, cert: p.tls, picture: newStream(h264Payload, H264.ClockRate, keptPicture)}
	if sound {
		s.sound = newStream(opusPayload, Opus.ClockRate, keptSound)
	}
	options := []ice.AgentOption{ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithIncludeLoopback(), ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4})}
	var own net.UDPAddr
	if p.local {
		own.IP = net.IPv4(127, 0, 0, 1)
		options = append(options, ice.WithRemoteIPFilter(net.IP.IsLoopback), ice.WithIPFilter(net.IP.IsLoopback),
			ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeTCP4})) // a range is reached over TCP alone
	}
	if s.udp, err = net.ListenUDP("udp4", &own); err != nil {
		return nil, err
	}
	quiet := logging.NewDefaultLeveledLoggerForScope("ice", logging.LogLevelDisabled, io.Discard) // it takes its own end for an error
	s.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: s.udp, Logger: quiet})
	if s.agent, err = ice.NewAgentWithOptions(append(options, ice.WithUDPMux(s.mux))...); err != nil {
		return nil, errors.Join(err, s.mux.Close(), s.udp.Close())
	}
	return s, nil
}

// Offer agrees with a server (RFC 9725, 4.2) and waits until the connection stands. leave says goodbye to the server and hangs up; it is there
// whatever became of the offer.
func (s *Sender) Offer(ctx context.Context, client *http.Client, to string) (leave func(), err error) {
	resource := ""
	leave = func() {
		if resource != "" {
			say(context.WithoutCancel(ctx), client, resource)
		}
		s.HangUp()
	}
	ctx, cancel := context.WithTimeout(ctx, ConnectLimit)
	defer cancel()
	mine, err := s.offer(ctx)
	if err != nil {
		return leave, err
	}
	var text []byte
	if resource, text, err = exchange(ctx, client, to, mine.String()); err != nil {
		return leave, err
	}
	theirs, err := readAnswer(text, mine.streams)
	if err == nil {
		err = s.connect(ctx, theirs)
	}
	return leave, err
}

// offer gathers what the sender has to say.
func (s *Sender) offer(ctx context.Context) (o offer, err error) {
	gathered := make(chan struct{})
	if err = s.agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
		}
	}); err == nil {
		err = s.agent.GatherCandidates()
	}
	if err != nil {
		return o, err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return o, ctx.Err()
	}
	o.streams = []*stream{s.picture}
	if s.sound != nil {
		o.streams = append(o.streams, s.sound)
	}
	if o.candidates, err = s.agent.GetLocalCandidates(); err == nil {
		o.ufrag, o.password, err = s.agent.GetLocalUserCredentials()
	}
	var cert *x509.Certificate
	if err == nil {
		cert, err = x509.ParseCertificate(s.cert.Certificate[0])
	}
	if err == nil {
		o.fingerprint, err = fingerprint.Fingerprint(cert, crypto.SHA256)
	}
	o.fingerprint = strings.ToUpper(o.fingerprint)
	return o, err
}

// connect makes the connection: ICE, then DTLS over it, then the keys of SRTP from that (RFC 5764, 4.2).
func (s *Sender) connect(ctx context.Context, a answer) (err error) {
	if !a.accepted[len(a.accepted)-1] {
		s.sound = nil
	}
	if err := s.agent.OnConnectionStateChange(func(state ice.ConnectionState) {
		if state == ice.ConnectionStateFailed || state == ice.ConnectionStateDisconnected || state == ice.ConnectionStateClosed {
			s.end(errors.New("ICE is " + state.String()))
		}
	}); err != nil {
		return err
	}
	for _, c := range a.candidates {
		if err := s.agent.AddRemoteCandidate(c); err != nil {
			return err
		}
	}
	if s.conn, err = s.agent.Dial(ctx, a.ufrag, a.password); err != nil {
		return fmt.Errorf("ICE: %w", errors.Join(err, ctx.Err()))
	}
	s.pipe = packetio.NewBuffer()
	s.pipe.SetLimitSize(64 << 10)
	s.reading.Go(s.read)
	options := []dtls.Option{dtls.WithCertificates(s.cert), dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), dtls.WithInsecureSkipVerify(true), dtls.WithVerifyPeerCertificate(a.verify)}
	if a.active {
		all := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range options {
			all = append(all, o)
		}
		s.secure, err = dtls.ServerWithOptions(pipe{s.pipe, s.conn}, s.conn.RemoteAddr(), all...)
	} else {
		var all []dtls.ClientOption
		for _, o := range options {
			all = append(all, o)
		}
		s.secure, err = dtls.ClientWithOptions(pipe{s.pipe, s.conn}, s.conn.RemoteAddr(), all...)
	}
	if err == nil {
		err = s.secure.HandshakeContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	s.reading.Go(func() { // nothing is said over DTLS any more, but goodbye
		_, err := s.secure.Read(make([]byte, 1500))
		s.end(fmt.Errorf("DTLS: %w", errors.Join(err, io.EOF)))
	})
	if err := s.key(!a.active); err != nil {
		return err
	}
	return s.aim()
}

func (s *Sender) key(client bool) error {
	profile, ok := s.secure.SelectedSRTPProtectionProfile()
	state, known := s.secure.ConnectionState()
	if !ok || !known {
		return errors.New("DTLS: no profile of SRTP was agreed on")
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(profile)} // both are the numbers of the registry
	if err := c.ExtractSessionKeysFromDTLS(&state, client); err != nil {
		return err
	}
	in, err := srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile)
	if err != nil {
		return err
	}
	s.out, err = srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = in
	return err
}

// aim finds out where packets go. What does not go over UDP is written through ICE.
func (s *Sender) aim() error {
	pair, err := s.agent.GetSelectedCandidatePair()
	if err != nil || pair == nil || !pair.Local.NetworkType().IsUDP() {
		return err
	}
	to, err := netip.ParseAddr(pair.Remote.Address())
	if err != nil || !to.Is4() {
		return err
	}
	if s.batch, err = newDatagrams(s.udp); err == nil {
		s.batch.towards(netip.AddrPortFrom(to, uint16(pair.Remote.Port())))
	}
	return err
}

// HangUp ends the connection; nothing of it runs any more when it returns.
func (s *Sender) HangUp() {
	if s.secure != nil {
		_ = s.secure.Close() // its goodbye may be lost
	}
	_ = s.agent.GracefulClose() // it is over either way
	_ = s.mux.Close()
	s.udp.Close()
	if s.pipe != nil {
		_ = s.pipe.Close()
	}
	s.reading.Wait()
}
