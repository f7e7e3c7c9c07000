package rtc

import (
	"context"
	"crypto"
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
	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"
)

// Sender is a publisher by WHIP for whom a packet costs little: ICE, DTLS and SRTP are the library's, as in every other connection, but a frame is
// encrypted and sent by whoever has it, with one system call.
type Sender struct {
	// AskedForKey is called for each request for a key frame.
	AskedForKey func()

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
	s = &Sender{AskedForKey: func() {}, picture: newStream(h264Payload, H264.ClockRate, keptPicture)}
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
func (s *Sender) Offer(ctx context.Context, client *http.Client, to string, p *Peers) (leave func(), err error) {
	resource := ""
	leave = func() {
		if resource != "" {
			say(context.WithoutCancel(ctx), client, resource)
		}
		s.HangUp()
	}
	ctx, cancel := context.WithTimeout(ctx, ConnectLimit)
	defer cancel()
	mine, err := s.offer(ctx, p)
	if err != nil {
		return leave, err
	}
	var text []byte
	if resource, text, err = exchange(ctx, client, to, mine.String()); err != nil {
		return leave, err
	}
	theirs, err := readAnswer(text, mine.streams)
	if err == nil {
		err = s.connect(ctx, theirs, p)
	}
	return leave, err
}

// offer gathers what the sender has to say.
func (s *Sender) offer(ctx context.Context, p *Peers) (o offer, err error) {
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
		cert, err = x509.ParseCertificate(p.tls.Certificate[0])
	}
	if err == nil {
		o.fingerprint, err = fingerprint.Fingerprint(cert, crypto.SHA256)
	}
	o.fingerprint = strings.ToUpper(o.fingerprint)
	return o, err
}

// connect makes the connection: ICE, then DTLS over it, then the keys of SRTP from that (RFC 5764, 4.2).
func (s *Sender) connect(ctx context.Context, a answer, p *Peers) (err error) {
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
	options := []dtls.Option{dtls.WithCertificates(p.tls), dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
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

// pipe is what DTLS reads and writes.
type pipe struct {
	*packetio.Buffer
	conn *ice.Conn
}

func (p pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.conn.RemoteAddr(), err
}
func (p pipe) WriteTo(b []byte, _ net.Addr) (int, error) { return p.conn.Write(b) }
func (p pipe) LocalAddr() net.Addr                       { return p.conn.LocalAddr() }
func (p pipe) SetDeadline(t time.Time) error             { return p.SetReadDeadline(t) }
func (p pipe) SetWriteDeadline(time.Time) error          { return nil }

// read sorts what comes by its first byte (RFC 7983, 7), until the connection ends.
func (s *Sender) read() {
	defer func() { _ = s.pipe.Close() }() // nobody waits for more
	for buf := make([]byte, 1500); ; {
		n, err := s.conn.Read(buf)
		if err != nil {
			s.end(err)
			return
		}
		switch {
		case n > 0 && buf[0] >= 20 && buf[0] < 64:
			_, _ = s.pipe.Write(buf[:n]) // what finds no room is lost, and sent again
		case n > 0 && buf[0] >= 128 && buf[0] < 192:
			s.hear(buf[:n])
		}
	}
}

// hear takes in feedback (RFC 4585).
func (s *Sender) hear(packet []byte) {
	s.mu.Lock()
	in := s.in
	s.mu.Unlock()
	if in == nil {
		return
	}
	plain, err := in.DecryptRTCP(nil, packet, nil)
	if err != nil {
		return
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	for _, p := range packets {
		if AsksForKey(p) {
			s.AskedForKey()
		}
		nack, ok := p.(*rtcp.TransportLayerNack)
		if !ok {
			continue
		}
		for _, st := range []*stream{s.picture, s.sound} {
			if st == nil || st.ssrc != nack.MediaSSRC {
				continue
			}
			s.again(st, nack)
		}
	}
}

// again sends what was lost as it was, of each feedback no more packets than are kept.
func (s *Sender) again(st *stream, nack *rtcp.TransportLayerNack) {
	most := len(st.kept)
	var packet []byte
	for _, pair := range nack.Nacks {
		for _, sequence := range pair.PacketList() {
			s.mu.Lock() // not for longer: the camera waits
			kept, ok := st.find(sequence)
			packet = append(packet[:0], kept...)
			s.mu.Unlock()
			if !ok {
				continue
			}
			if most--; most < 0 {
				return
			}
			_, _ = s.conn.Write(packet) // it may be lost again
		}
	}
}

// end notes why the connection ended: the first reason is it.
func (s *Sender) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = why
	}
}

// Ended is why the connection has ended; nil: it has not.
func (s *Sender) Ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// HasSound tells whether the server wants sound.
func (s *Sender) HasSound() bool { return s.sound != nil }

// Picture adds the pieces of a picture (Cut) to what Send sends; last: they are its last ones.
func (s *Sender) Picture(at time.Duration, last bool, pieces ...[]byte) error {
	return s.put(s.picture, at, last, pieces)
}

// Sound adds a packet of Opus.
func (s *Sender) Sound(at time.Duration, packet []byte) error {
	return s.put(s.sound, at, false, [][]byte{packet})
}

func (s *Sender) put(st *stream, at time.Duration, last bool, pieces [][]byte) error {
	s.mu.Lock() // of what is kept
	defer s.mu.Unlock()
	for i, piece := range pieces {
		s.plain = st.append(s.plain[:0], at, last && i == len(pieces)-1, piece)
		slot := st.slot(st.sequence)
		packet, err := s.out.EncryptRTP((*slot)[:0], s.plain, nil)
		if err != nil {
			return err
		}
		*slot = packet
		if s.waiting = append(s.waiting, packet); len(s.waiting) == keptSound { // what waits must not be written over
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// reportEvery is how often a receiver is told when what was sent (RFC 3550, 6.2).
const reportEvery = time.Second

// Send sends what was added, and a report now and then. It gives how many packets found no room in the kernel: they are lost.
func (s *Sender) Send(now time.Time) (lost int, err error) {
	if now.Sub(s.reported) > reportEvery {
		s.reported = now
		packets := []rtcp.Packet{s.picture.report(now)}
		if s.sound != nil {
			packets = append(packets, s.sound.report(now))
		}
		plain, err := rtcp.Marshal(packets)
		if err != nil {
			return 0, err
		}
		packet, err := s.out.EncryptRTCP(nil, plain, nil)
		if err != nil {
			return 0, err
		}
		s.waiting = append(s.waiting, packet)
	}
	err = s.flush()
	lost, s.unsent = s.unsent, 0
	return lost, err
}

func (s *Sender) flush() (err error) {
	defer func() { s.waiting = s.waiting[:0] }()
	if s.batch == nil {
		for _, packet := range s.waiting {
			_, err := s.conn.Write(packet)
			if errors.Is(err, packetio.ErrFull) {
				s.unsent++
			} else if err != nil {
				return err
			}
		}
		return nil
	}
	for _, packet := range s.waiting {
		s.batch.add(packet)
	}
	lost, err := s.batch.send()
	s.unsent += lost
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
