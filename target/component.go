// Package target is the system under test. It says what a component is, what a fault may hold it by, and which defences
// a platform can have; the folders below are the bundled platform, component by component.
package target

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrRefused is in the chain of every error by which a component said no.
var ErrRefused = errors.New("refused")

// Component is one part of a platform, as loads and faults see it. It is plain data, so a worker, a journal and another
// process can have it.
type Component struct {
	Name    string         `json:"name"`
	Kind    string         `json:"kind"`
	Region  string         `json:"region,omitempty"`
	Addr    string         `json:"addr,omitempty"`   // IP address
	Ports   map[string]int `json:"ports,omitempty"`  // by protocol: http, rtmp, ...
	Socket  string         `json:"socket,omitempty"` // Unix socket with /metrics and /health
	Handles Handles        `json:"handles"`
}

// Handles are what a fault can hold a component by. A nil handle means that this component cannot be held so.
type Handles struct {
	Network *Network `json:"network,omitempty"`
	TLS     *TLS     `json:"tls,omitempty"`
	Tokens  *Tokens  `json:"tokens,omitempty"`
	Encoder *Encoder `json:"encoder,omitempty"`
	Redis   *Redis   `json:"redis,omitempty"`
	MySQL   *MySQL   `json:"mysql,omitempty"`
	Cgroup  *Cgroup  `json:"cgroup,omitempty"` // of all processes on the host
	Queue   *Queue   `json:"queue,omitempty"`
	Disk    string   `json:"disk,omitempty"`  // directory of a file system of its own, on which the component's data is
	Drive   *Drive   `json:"drive,omitempty"` // what it sees of that disk, if it is one that can be slow or fail
}

// Drive is a disk that can be told what to do. Whoever waits for it cannot be killed while it is slow: only processes that others can do
// without go there.
type Drive struct {
	Dir    string `json:"dir"`    // where the component has its data
	Socket string `json:"socket"` // where the disk takes orders
}

// TLS is what a component shows to clients that ask for a certificate.
type TLS struct {
	Root string `json:"root"` // certificate of the authority that they trust, in PEM
}

// Tokens are those that a gateway gives out, signed with a key of the run's own: an attacker has old ones.
type Tokens struct {
	Key string `json:"key"`
}

// Network is the link of a component's host: a veth pair between the host and the bridge of its range.
type Network struct {
	Namespace string `json:"namespace"` // path of the host's network namespace
	Device    string `json:"device"`    // the link's end in the host
	Bridge    string `json:"bridge"`    // path of the network namespace that holds the bridge
	Port      string `json:"port"`      // the link's other end, at the bridge
	Addr      string `json:"addr"`      // IP address of the host
	Peer      string `json:"peer"`      // IP address at the bridge, for probes across the link
	Strangers string `json:"strangers"` // IP address at the bridge of clients that are part of a fault, and of nobody else
}

// Encoder is what runs the video encoders: a cgroup where the machine has one, and the processes themselves.
type Encoder struct {
	Cgroup Cgroup `json:"cgroup"`
	Socket string `json:"socket"`        // GET /encoders answers with EncoderState
	GPU    *int   `json:"gpu,omitempty"` // number of the card, where one encodes
}

// EncoderState is a reading of all encoders of a component.
type EncoderState struct {
	PIDs  []int   `json:"pids"`
	CPU   float64 `json:"cpu_s"`   // CPU time spent by all encoders so far, in seconds
	Media float64 `json:"media_s"` // media time encoded so far, in seconds
	Input float64 `json:"input_s"` // media time that has arrived so far, in seconds
}

// Redis is a Redis server that a fault may reconfigure.
type Redis struct {
	Addr     string `json:"addr"` // host and port, or the path of a Unix socket
	Password string `json:"password"`
}

// Queue is what a component takes its work from: a Redis stream.
type Queue struct {
	Redis   Redis    `json:"redis"`
	Network *Network `json:"network,omitempty"` // of the host that Redis is on
	Stream  string   `json:"stream"`
}

// MySQL is a MariaDB or MySQL server, with the platform's account and its administrator's.
type MySQL struct {
	Addr          string `json:"addr"` // host and port, or the path of a Unix socket
	User          string `json:"user"`
	Password      string `json:"password"`
	Database      string `json:"database"`
	Admin         string `json:"admin"` // address for the administrator
	AdminUser     string `json:"admin_user"`
	AdminPassword string `json:"admin_password"`
	Primary       *MySQL `json:"primary,omitempty"` // whose replica it is
}

// Tampering is what an ingest of the bundled platform does to every stream, if it is told to: what broken cameras, encoders and
// networks do to media.
type Tampering struct {
	Stall       bool          `json:"stall,omitempty"`         // nothing more comes, and the connection stays
	NoKeyFrames bool          `json:"no_key_frames,omitempty"` // a newcomer gets no picture
	NoAudio     bool          `json:"no_audio,omitempty"`
	Drift       float64       `json:"drift,omitempty"`   // seconds by which time stamps run ahead in each second
	Jump        time.Duration `json:"jump,omitempty"`    // time stamps are so much later at once
	Skew        time.Duration `json:"skew,omitempty"`    // audio is so much later than video
	Bitrate     float64       `json:"bitrate,omitempty"` // bits per second; pictures beyond it are dropped up to the next key frame
	Codec       bool          `json:"codec,omitempty"`   // pictures say that they are of a codec that nobody plays
}

// Spoiling is what an origin of the bundled platform does to what it serves as HLS, if it is told to.
type Spoiling struct {
	Frozen  bool    `json:"frozen,omitempty"`  // playlists stay as they are
	Missing float64 `json:"missing,omitempty"` // share of segments that are not found, evenly spread
	Corrupt float64 `json:"corrupt,omitempty"` // share of segments with wrong bytes, evenly spread
}

// Disk is what a component's disk does, if it is told to.
type Disk struct {
	Slow   time.Duration `json:"slow,omitempty"`   // longer for each access: read, write or sync
	Reads  float64       `json:"reads,omitempty"`  // share of reads that fail (EIO), evenly spread
	Writes float64       `json:"writes,omitempty"` // share of writes and syncs that fail
}

// Sessions is what a transcoder of the bundled platform is told of its card: how many encoders may be open at once.
type Sessions struct {
	Limited bool `json:"limited,omitempty"`
	Most    int  `json:"most,omitempty"`
}

// Answers is what a name server of the bundled platform is told to answer.
type Answers struct {
	Name  string        `json:"name,omitempty"`  // that is asked for; empty: every one
	Code  int           `json:"code,omitempty"`  // response code (RFC 1035, 4.1.1); 0 is that of a right answer
	Stale string        `json:"stale,omitempty"` // address in the place of the right one
	Slow  time.Duration `json:"slow,omitempty"`  // before any answer
}

// Consumption is what a consumer of the bundled platform's queue is told.
type Consumption struct {
	Slow time.Duration `json:"slow,omitempty"` // longer for each event
}

// Clock is what a component of the bundled platform is told of the time.
type Clock struct {
	Ahead time.Duration `json:"ahead,omitempty"` // of the machine's; negative: behind it
}

// Cgroup is a control group, in either version. The zero value is none.
type Cgroup struct {
	Version int    `json:"version"`
	CPU     string `json:"cpu,omitempty"`    // directory of the cpu controller
	Usage   string `json:"usage,omitempty"`  // directory of the cpuacct controller (version 1)
	Memory  string `json:"memory,omitempty"` // directory of the memory controller
	PIDs    string `json:"pids,omitempty"`   // directory of the pids controller, where the machine has one
}

// HostPort gives the address of one of the component's ports by protocol.
func (c Component) HostPort(protocol string) (string, error) {
	port, ok := c.Ports[protocol]
	if !ok {
		return "", fmt.Errorf("%s does not speak %s, but %s", c.Name, protocol, strings.Join(slices.Sorted(maps.Keys(c.Ports)), ", "))
	}
	return net.JoinHostPort(c.Addr, strconv.Itoa(port)), nil
}

// Serves tells whether a port is one of the component's own.
func (c Component) Serves(port int) bool {
	for _, p := range c.Ports {
		if p == port {
			return true
		}
	}
	return false
}

// Platform is a whole system under test.
type Platform struct {
	Profile    string      `json:"profile"`
	Components []Component `json:"components"`
	Viewers    []Component `json:"viewers,omitempty"` // the hosts of the regions' viewers: links, and nothing else
	Secrets    Secrets     `json:"secrets"`
	Canary     float64     `json:"canary,omitempty"` // share of the users whom gateway-canary serves
}

// Secrets are made anew for each run and never leave it.
type Secrets struct {
	Token     string `json:"token"`  // signs log-ins
	Stream    string `json:"stream"` // signs stream keys
	Database  string `json:"database"`
	Redis     string `json:"redis"`
	Authority string `json:"authority,omitempty"` // signs certificates: its key and its own certificate, in PEM; no client has it
	Root      string `json:"root"`                // what clients trust: the authority's certificate alone
}

// KindViewers is the kind of a region's viewers, as a fault sees them.
const KindViewers = "viewers"

// Find returns the component, or the viewers of a region, of that name.
func (p Platform) Find(name string) (Component, error) {
	for _, list := range [][]Component{p.Components, p.Viewers} {
		for _, c := range list {
			if c.Name == name {
				return c, nil
			}
		}
	}
	return Component{}, fmt.Errorf("the platform has no component %q: there are %s", name, strings.Join(p.Names(), ", "))
}

// Names are those of all components, and of the viewers of each region.
func (p Platform) Names() (names []string) {
	for _, list := range [][]Component{p.Components, p.Viewers} {
		for _, c := range list {
			names = append(names, c.Name)
		}
	}
	return names
}
