// Package stack brings the bundled platform up in a range: a host for every component, its configuration, its process,
// its health; and takes it down again.
package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/danmaku"
	"github.com/livedrill/livedrill/target/dns"
	"github.com/livedrill/livedrill/target/edge"
	"github.com/livedrill/livedrill/target/gateway"
	"github.com/livedrill/livedrill/target/ingest"
	"github.com/livedrill/livedrill/target/mariadb"
	"github.com/livedrill/livedrill/target/origin"
	"github.com/livedrill/livedrill/target/ranking"
	"github.com/livedrill/livedrill/target/redis"
	"github.com/livedrill/livedrill/target/transcode"
)

// Kind is a kind of component that the bundled platform is made of.
type Kind struct {
	Name     string
	Summary  string
	Programs []string                   // that must be on the machine
	Ports    map[string]int             // by protocol
	Conf     func(target.Config) string // of the real server in it, if there is one
	Serve    func(context.Context, target.Config) error
}

// Kinds lists every kind of component.
var Kinds = []Kind{
	{"dns", "name server: every component is reached by its name", nil, map[string]int{"dns": target.PortDNS}, nil, dns.Serve},
	{"redis", "the real Redis server", []string{"redis-server"}, map[string]int{"redis": target.PortRedis}, redis.Conf, redis.Serve},
	{"mariadb", "the real MariaDB server", []string{"mariadbd", "mariadb-install-db"}, map[string]int{"mysql": target.PortMariaDB},
		mariadb.Conf, mariadb.Serve},
	{ReplicaName, "a replica of MariaDB, where one is asked for", []string{"mariadbd", "mariadb-install-db"}, map[string]int{"mysql": target.PortMariaDB},
		mariadb.Conf, mariadb.Serve},
	{"gateway", "API gateway: log-in, rooms, gifts, dispatch", nil, map[string]int{"http": target.PortHTTP, "https": target.PortHTTPS}, nil, gateway.Serve},
	{"ranking", "ranking of each room by its gifts: the consumer of a queue", nil, nil, nil, ranking.Serve},
	{"ingest", "RTMP publish and play, WHIP", nil, map[string]int{"rtmp": target.PortRTMP, "http": target.PortHTTP}, nil, ingest.Serve},
	{"transcode", "one ffmpeg per stream, two renditions", []string{"ffmpeg"}, map[string]int{"http": target.PortHTTP},
		func(c target.Config) string { return transcode.Conf(c.Encoder) }, transcode.Serve},
	{"origin", "HLS and HTTP-FLV of every stream", nil, map[string]int{"http": target.PortHTTP}, nil, origin.Serve},
	{"edge", "CDN edge: nginx for HLS, a relay for HTTP-FLV, RTMP and WHEP", []string{"nginx"}, map[string]int{"http": target.PortHTTP, "https": target.PortHTTPS, "rtmp": target.PortRTMP},
		edge.Conf, edge.Serve},
	{"danmaku", "bullet chat over WebSocket", nil, map[string]int{"ws": target.PortDanmaku}, nil, danmaku.Serve},
}

// FindKind returns a kind by its name.
func FindKind(name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// place is one component of the layout.
type place struct{ name, kind, region string }

// layout is the bundled platform, in the order in which its parts are started.
var layout = []place{
	{"dns", "dns", ""},
	{"mariadb", "mariadb", ""},
	{ReplicaName, ReplicaName, ""},
	{"redis", "redis", ""},
	{"gateway", "gateway", ""},
	{"ranking", "ranking", ""},
	{"origin", "origin", ""},
	{"transcode", "transcode", ""},
	{"ingest-a", "ingest", "north"},
	{"ingest-b", "ingest", "south"},
	{"edge-north", "edge", "north"},
	{"edge-south", "edge", "south"},
	{"danmaku-a", "danmaku", "north"},
	{"danmaku-b", "danmaku", "south"},
}

// ReplicaName is the component that follows MariaDB, and that the gateway reads from. It is there where it is asked for: nobody else should pay for it.
const ReplicaName = "mariadb-replica"

// CanaryName is the component that runs another version of the gateway beside it.
const CanaryName = "gateway-canary"

// Canary is another version of the gateway, for a share of the users: other defences, another program, or both.
type Canary struct {
	Share    float64         `json:"share"`
	Defences target.Defences `json:"defences"`
	Program  string          `json:"program,omitempty"` // another livedrill; empty: this one
}

// layout is what these options bring up.
func (o Options) layout() []place {
	out := slices.Clone(layout)
	if !o.Replica {
		out = slices.DeleteFunc(out, func(p place) bool { return p.name == ReplicaName })
	}
	if o.Canary != nil {
		out = append(out, place{CanaryName, "gateway", ""})
	}
	return out
}

// Regions are where viewers are.
var Regions = []string{"north", "south"}

// ViewerHost is the host of a region's viewers.
func ViewerHost(region string) string { return "viewers-" + region }

func namesOf(kind string) []string {
	var out []string
	for _, p := range layout {
		if p.kind == kind {
			out = append(out, p.name)
		}
	}
	return out
}

// Components lists the bundled platform's components by name, with their kinds.
func Components() []target.Component {
	var out []target.Component
	for _, p := range layout {
		out = append(out, target.Component{Name: p.name, Kind: p.kind, Region: p.region})
	}
	return out
}

// Targets lists what a fault can be put on, by name: the components, and the viewers of each region.
func Targets() []target.Component {
	out := Components()
	for _, region := range Regions {
		out = append(out, target.Component{Name: ViewerHost(region), Kind: target.KindViewers, Region: region})
	}
	return out
}

// Config is what a component of the bundled platform is started with.
func (o Options) Config(name string) (target.Config, bool) {
	for _, p := range o.layout() {
		if p.name == name {
			c := target.Config{Name: p.name, Kind: p.kind, Region: p.region, Defences: o.Defences, Secrets: o.Secrets,
				Encoder: o.Encoder, OpenKeys: o.OpenKeys, Outside: o.Outside[name], Edges: namesOf("edge"), Chats: namesOf("danmaku"),
				Ingests: namesOf("ingest")}
			if o.Replica && name != ReplicaName {
				c.Replica = ReplicaName
			}
			if name == ReplicaName {
				c.Primary = "mariadb"
			}
			if name == CanaryName {
				c.Defences = o.Canary.Defences
			}
			return c, true
		}
	}
	return target.Config{}, false
}

// NewSecrets makes the secrets of a run.
func NewSecrets() (target.Secrets, error) {
	var raw [4][16]byte
	var out [4]string
	for i := range raw {
		if _, err := rand.Read(raw[i][:]); err != nil {
			return target.Secrets{}, err
		}
		out[i] = hex.EncodeToString(raw[i][:])
	}
	authority, root, err := target.NewAuthority()
	return target.Secrets{Token: out[0], Stream: out[1], Database: out[2], Redis: out[3], Authority: authority, Root: root}, err
}
