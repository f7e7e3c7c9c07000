// Package kinds is the one list of everything that can make load.
package kinds

import (
	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/api"
	"github.com/livedrill/livedrill/loadgen/danmaku"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/hls"
	"github.com/livedrill/livedrill/loadgen/rtmp"
	"github.com/livedrill/livedrill/loadgen/users"
	"github.com/livedrill/livedrill/loadgen/webrtc"
)

// Kind is one kind of load.
type Kind struct {
	Name    string
	Summary string
	Default func() loadgen.Generator // a pointer to the kind's settings
}

// All lists every kind.
var All = []Kind{
	{"rtmp", "publishes real H.264 and AAC as encoders do; a probe viewer proves each publish", rtmp.Default},
	{"hls", "watches through the edges as HLS players do: buffer, stalls, first frame, stamps", hls.Default},
	{"flv", "watches through the edges over HTTP-FLV: frame by frame, with every frame's delay", flv.Default},
	{"webrtc", "publishes by WHIP and watches by WHEP: ICE, DTLS, SRTP and H.264; no sound yet", webrtc.Default},
	{"danmaku", "talks in rooms over WebSocket; every delivery is checked for loss, duplicates and order", danmaku.Default},
	{"http", "log-ins, rooms and gifts against the API gateway, by vegeta or by a pool of connections", api.Default},
	{"users", "whole people: log in, watch, chat, give a gift, leave; every step of every journey is counted", users.Default},
}

// Find returns a kind by its name.
func Find(name string) (Kind, bool) {
	for _, k := range All {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}
