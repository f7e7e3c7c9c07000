// Package rtc is the WebRTC of the platform and of its load: connections that are agreed on by one HTTP request (WHIP, RFC 9725; WHEP),
// and H.264 on its way between RTP and FLV.
package rtc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// OfferLimit bounds what is read of a session description, in bytes.
const OfferLimit = 64 << 10

// ConnectLimit is how long ICE and DTLS may take together.
const ConnectLimit = 5 * time.Second

// ErrRefused is in the chain of an error by which a server turned an offer down.
var ErrRefused = errors.New("refused by the WebRTC server")

// H264 is what both sides speak: constrained baseline, packetization mode 1 (RFC 6184), with what a lossy way needs.
var H264 = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
	SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}}

// Opus is the sound.
var Opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}

// Peers makes connections with one certificate.
type Peers struct {
	api  *webrtc.API
	cert webrtc.Certificate
	udp  net.PacketConn
}

// NewPeers makes a side. A server gets an address for all its media, and answers as ICE lite; a client leaves it empty. One that is
// local has nothing to do with addresses that are not on loopback, whatever the other side says.
func NewPeers(listen string, local bool) (*Peers, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, err
	}
	p := &Peers{cert: *cert}
	media := &webrtc.MediaEngine{}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: H264, PayloadType: 102}, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: Opus, PayloadType: 111}, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIncludeLoopbackCandidate(true)
	if local {
		settings.SetIPFilter(net.IP.IsLoopback)
		settings.SetRemoteIPFilter(net.IP.IsLoopback)
	}
	if listen != "" {
		if p.udp, err = net.ListenPacket("udp4", listen); err != nil {
			return nil, err
		}
		settings.SetLite(true)
		settings.SetICEUDPMux(webrtc.NewICEUDPMux(nil, p.udp))
	}
	// The default interceptors are what a server must do (NACK, reports); a client has them to be one that servers meet.
	p.api = webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings))
	return p, nil
}

// Close gives the media address back.
func (p *Peers) Close() {
	if p.udp != nil {
		_ = p.udp.Close() // nothing was written to it that could be lost
	}
}

// New makes a connection that is not connected yet.
func (p *Peers) New() (*webrtc.PeerConnection, error) {
	return p.api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{p.cert}})
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

// Answer is a server's part of the agreement: it reads the offer of a request and answers it with 201 and a location (RFC 9725, 4.2).
func Answer(w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection, location string) error {
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, OfferLimit))
	if err == nil {
		err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)})
	}
	if err != nil {
		http.Error(w, "the offer cannot be read", http.StatusBadRequest)
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	answer, err := pc.CreateAnswer(nil)
	if err == nil {
		err = pc.SetLocalDescription(answer)
	}
	if err != nil {
		http.Error(w, "the offer cannot be met", http.StatusNotAcceptable)
		return err
	}
	select {
	case <-gathered:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", location)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(http.StatusCreated)
	_, err = io.WriteString(w, pc.LocalDescription().SDP)
	return err
}

// Offer is a client's part: it sends the offer, takes the answer, and waits until the connection stands.
func Offer(ctx context.Context, client *http.Client, url string, pc *webrtc.PeerConnection) error {
	ctx, cancel := context.WithTimeout(ctx, ConnectLimit)
	defer cancel()
	connected, failed := make(chan struct{}), make(chan struct{})
	stands, ends := sync.OnceFunc(func() { close(connected) }), sync.OnceFunc(func() { close(failed) }) // states can come again
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			stands()
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			ends()
		}
	})
	gathered := webrtc.GatheringCompletePromise(pc)
	offer, err := pc.CreateOffer(nil)
	if err == nil {
		err = pc.SetLocalDescription(offer)
	}
	if err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%w: %s", ErrRefused, resp.Status)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, OfferLimit))
	if err != nil {
		return err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	select {
	case <-connected:
		return nil
	case <-failed:
		return errors.New("ICE or DTLS failed")
	case <-ctx.Done():
		return ctx.Err()
	}
}
