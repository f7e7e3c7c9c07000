package rtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// goodbye is how long a client waits for its goodbye to be heard.
const goodbye = time.Second

// Offer is a client's part of the agreement: it sends the offer, takes the answer, and waits until the connection stands. leave says goodbye to
// the server (RFC 9725, 4.2) and hangs up; it is there whatever became of the offer.
func Offer(ctx context.Context, client *http.Client, to string, pc *webrtc.PeerConnection) (leave func(), err error) {
	resource := ""
	leave = func() {
		if resource != "" {
			say(context.WithoutCancel(ctx), client, resource)
		}
		HangUp(pc)
	}
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
		return leave, err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return leave, ctx.Err()
	}
	var answer []byte
	if resource, answer, err = exchange(ctx, client, to, pc.LocalDescription().SDP); err != nil {
		return leave, err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		return leave, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	select {
	case <-connected:
		return leave, nil
	case <-failed:
		return leave, errors.New("ICE or DTLS failed")
	case <-ctx.Done():
		return leave, ctx.Err()
	}
}

// exchange posts an offer and gives the answer, and where the server keeps the connection.
func exchange(ctx context.Context, client *http.Client, to, offer string) (resource string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(offer))
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return "", nil, fmt.Errorf("%w: %s", ErrRefused, resp.Status)
	}
	resource = here(to, resp.Header.Get("Location"))
	answer, err = io.ReadAll(io.LimitReader(resp.Body, OfferLimit))
	return resource, answer, err
}

// here is where a location leads, as long as it is on the server that gave it; empty: it is not, or there is none.
func here(from, location string) string {
	base, err := url.Parse(from)
	if err != nil || location == "" {
		return ""
	}
	at, err := base.Parse(location)
	if err != nil || at.Scheme != base.Scheme || at.Host != base.Host {
		return ""
	}
	return at.String()
}

func say(ctx context.Context, client *http.Client, resource string) {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, resource, nil)
	if err != nil {
		return
	}
	if resp, err := client.Do(req); err == nil { // who does not hear it sees the connection end
		_ = resp.Body.Close()
	}
}
