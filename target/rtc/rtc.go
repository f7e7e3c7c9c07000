// Package rtc is the WebRTC of the platform and of its load: connections that are agreed on by one HTTP request (WHIP, RFC 9725; WHEP),
// and H.264 and Opus on their way between RTP and FLV.
package rtc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/livedrill/livedrill/target"
)

// OfferLimit bounds what is read of a session description, in bytes.
const OfferLimit = 64 << 10

// ConnectLimit is how long ICE and DTLS may take together.
const ConnectLimit = 5 * time.Second

const (
	tcpPackets = 64        // that came over TCP and may wait for one connection
	tcpUnread  = 256 << 10 // bytes that a client over TCP may leave unread; what is beyond is lost, as on any other way
)

// ErrRefused is in the chain of an error by which a server turned an offer down.
var ErrRefused = fmt.Errorf("%w by the WebRTC server", target.ErrRefused)

// H264 is what both sides speak: constrained baseline, packetization mode 1 (RFC 6184), with what a lossy way needs.
var H264 = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
	SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}}

// Opus is the sound.
var Opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}

// Peers makes connections with one certificate.
type Peers struct {
	api   *webrtc.API
	tls   tls.Certificate
	cert  webrtc.Certificate
	local bool
	udp   net.PacketConn
	tcp   *ice.TCPMuxDefault
	// Outside is one more address of a server, over TCP, that clients are told of (RFC 6544, 4.5); empty: none.
	Outside string
}

// NewPeers makes a side. A server gets an address for all its media, and answers as ICE lite; a client leaves it empty. One that is
// local has nothing to do with addresses that are not on loopback, whatever the other side says.
func NewPeers(listen string, local bool) (*Peers, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	own, err := selfsign.SelfSign(key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		return nil, err
	}
	p := &Peers{tls: own, cert: webrtc.CertificateFromX509(key, cert), local: local}
	media := &webrtc.MediaEngine{}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: H264, PayloadType: h264Payload}, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: Opus, PayloadType: opusPayload}, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIncludeLoopbackCandidate(true)
	if local {
		settings.SetIPFilter(net.IP.IsLoopback)
		settings.SetRemoteIPFilter(net.IP.IsLoopback)
		settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4}) // a range is reached over TCP alone
	}
	if listen != "" {
		if p.udp, err = net.ListenPacket("udp4", listen); err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp4", listen)
		if err != nil {
			return nil, errors.Join(err, p.udp.Close())
		}
		settings.SetLite(true)
		settings.SetICEUDPMux(webrtc.NewICEUDPMux(nil, p.udp))
		p.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: l, ReadBufferSize: tcpPackets, WriteBufferSize: tcpUnread})
		settings.SetICETCPMux(p.tcp)
		settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4})
	}
	all := &interceptor.Registry{}
	err = errors.Join(webrtc.ConfigureNack(media, all), webrtc.ConfigureRTCPReports(all)) // what a lossy way needs
	if listen != "" {
		// By this feedback browsers find out how much they may send. Clients of ours send what they were told to, and do not ask for it.
		err = errors.Join(err, webrtc.ConfigureTWCCSender(media, all))
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	p.api = webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings), webrtc.WithInterceptorRegistry(all))
	return p, nil
}

// Close gives the media address back.
func (p *Peers) Close() {
	if p.udp != nil {
		_ = p.udp.Close() // nothing was written to them that could be lost
		_ = p.tcp.Close()
	}
}

// New makes a connection that is not connected yet.
func (p *Peers) New() (*webrtc.PeerConnection, error) {
	return p.api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{p.cert}})
}

// Has tells whether both sides agreed on media of a kind.
func Has(pc *webrtc.PeerConnection, kind webrtc.RTPCodecType) bool {
	agreed := pc.LocalDescription()
	if agreed == nil {
		return false
	}
	for line := range strings.Lines(agreed.SDP) { // one that is refused has port 0 (RFC 3264, 6)
		if rest, ok := strings.CutPrefix(line, "m="+kind.String()+" "); ok && !strings.HasPrefix(rest, "0 ") {
			return true
		}
	}
	return false
}

// HangUp ends a connection; nothing of the library's runs any more when it returns.
func HangUp(pc *webrtc.PeerConnection) {
	_ = pc.GracefulClose() // it is over either way
}

// OnTrack has do read each track that comes. wait, after HangUp, returns when no do runs any more: the library itself does not wait.
func OnTrack(pc *webrtc.PeerConnection, do func(*webrtc.TrackRemote)) (wait func()) {
	var mu sync.Mutex
	var reading sync.WaitGroup
	over := false
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		mu.Lock()
		if over {
			mu.Unlock()
			return
		}
		reading.Add(1)
		mu.Unlock()
		defer reading.Done()
		do(track)
	})
	return func() {
		mu.Lock()
		over = true
		mu.Unlock()
		reading.Wait()
	}
}
