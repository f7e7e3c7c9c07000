package rtc

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// offer is what a sender says of itself (RFC 8866; RFC 9725, 4.1).
type offer struct {
	ufrag, password, fingerprint string
	candidates                   []ice.Candidate
	streams                      []*stream
}

func (o offer) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0\r\no=- %d 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0", o.streams[0].ssrc)
	mids := make([]string, len(o.streams))
	for i := range o.streams {
		mids[i] = fmt.Sprint(i)
	}
	line("a=group:BUNDLE %s", strings.Join(mids, " "))
	for i, s := range o.streams {
		kind, codec, format := "video", "H264/90000", H264.SDPFmtpLine
		if s.payload == opusPayload {
			kind, codec, format = "audio", "opus/48000/2", Opus.SDPFmtpLine
		}
		line("m=%s 9 UDP/TLS/RTP/SAVPF %d\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0", kind, s.payload)
		line("a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\na=setup:actpass", o.ufrag, o.password, o.fingerprint)
		line("a=mid:%d\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize", i)
		line("a=rtpmap:%d %s\r\na=fmtp:%d %s", s.payload, codec, s.payload, format)
		line("a=rtcp-fb:%d nack", s.payload)
		if kind == "video" {
			line("a=rtcp-fb:%d nack pli\r\na=rtcp-fb:%d ccm fir", s.payload, s.payload)
		}
		line("a=msid:livedrill %s\r\na=ssrc:%d cname:livedrill", kind, s.ssrc)
		if i > 0 { // they are the bundle's (RFC 8843, 9.2)
			continue
		}
		for _, c := range o.candidates {
			line("a=candidate:%s", c.Marshal())
		}
		line("a=end-of-candidates")
	}
	return b.String()
}

// answer is what the server says to it.
type answer struct {
	ufrag, password string
	hash, print     string // of its certificate (RFC 8122)
	active          bool   // it begins with DTLS (RFC 5763, 5)
	candidates      []ice.Candidate
	accepted        []bool // by stream
}

var errAnswer = fmt.Errorf("%w: an answer that does not fit the offer", ErrRefused)

// readAnswer reads a server's answer to an offer of streams (RFC 3264, 6).
func readAnswer(text []byte, streams []*stream) (a answer, err error) {
	var d sdp.SessionDescription
	if err := d.Unmarshal(text); err != nil {
		return a, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if len(d.MediaDescriptions) != len(streams) {
		return a, fmt.Errorf("%w: %d media, not %d", errAnswer, len(d.MediaDescriptions), len(streams))
	}
	setup, print := "", ""
	for i, m := range d.MediaDescriptions {
		accepted := m.MediaName.Port.Value != 0 && slices.Contains(m.MediaName.Formats, strconv.Itoa(int(streams[i].payload)))
		for _, not := range []string{"inactive", "sendonly"} {
			if _, ok := m.Attribute(not); ok {
				accepted = false
			}
		}
		if a.accepted = append(a.accepted, accepted); !accepted {
			continue
		}
		get := func(name string, into *string) { // the first one counts: all are one bundle
			v, ok := m.Attribute(name)
			if !ok {
				v, _ = d.Attribute(name)
			}
			if *into == "" {
				*into = v
			}
		}
		get("ice-ufrag", &a.ufrag)
		get("ice-pwd", &a.password)
		get("setup", &setup)
		get("fingerprint", &print)
		for _, at := range m.Attributes {
			if at.Key != "candidate" {
				continue
			}
			c, err := ice.UnmarshalCandidate(at.Value)
			if errors.Is(err, ice.ErrUnknownCandidateTyp) || errors.Is(err, ice.ErrDetermineNetworkType) {
				continue // they are for others (RFC 8839, 5.1)
			}
			if err != nil {
				return a, fmt.Errorf("%w: candidate %q: %w", errAnswer, at.Value, err)
			}
			a.candidates = append(a.candidates, c)
		}
	}
	a.active = setup == "active"
	a.hash, a.print, _ = strings.Cut(print, " ")
	switch {
	case !a.accepted[0]:
		return a, fmt.Errorf("%w: the picture is not wanted", errAnswer)
	case a.ufrag == "" || a.password == "":
		return a, fmt.Errorf("%w: no ICE credentials", errAnswer)
	case setup != "active" && setup != "passive":
		return a, fmt.Errorf("%w: setup %q", errAnswer, setup)
	case a.print == "":
		return a, fmt.Errorf("%w: no fingerprint", errAnswer)
	}
	return a, nil
}

// verify tells whether a certificate is the one that the answer is about.
func (a answer) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return errors.New("no certificate")
	}
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	hash, err := fingerprint.HashFromString(a.hash)
	if err != nil {
		return err
	}
	is, err := fingerprint.Fingerprint(cert, hash)
	if err == nil && !strings.EqualFold(is, a.print) {
		err = errors.New("the certificate is not the one of the answer")
	}
	return err
}
