package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// The ports of the bundled platform, the same on every host.
const (
	PortDNS     = 53
	PortHTTP    = 8080
	PortHTTPS   = 8443
	PortRelay   = 8081
	PortPeer    = 8082
	PortRTMP    = 1935
	PortMedia   = 8000 // WebRTC, over UDP and TCP
	PortDanmaku = 8090
	PortRedis   = 6379
	PortMariaDB = 3306
)

// Config is what one component of the bundled platform is started with.
type Config struct {
	Name     string            `json:"name"`
	Kind     string            `json:"kind"`
	Region   string            `json:"region,omitempty"`
	Socket   string            `json:"socket"`           // where it serves /metrics and /health
	Dir      string            `json:"dir"`              // its own directory, removed with the run
	Below    string            `json:"below,omitempty"`  // of a disk: the directory that Dir shows
	Traces   string            `json:"traces,omitempty"` // directory for the record's traces; empty: none are kept
	Listen   string            `json:"listen"`           // IP address to listen on
	Defences Defences          `json:"defences"`
	Secrets  Secrets           `json:"secrets"`
	Peers    map[string]string `json:"peers,omitempty"` // "redis:6379" → another address, for tests
	Encoder  string            `json:"encoder,omitempty"`
	Cgroup   Cgroup            `json:"cgroup"`            // of the encoders
	OpenKeys bool              `json:"open_keys"`         // accept streams without a key: a range for hands-on work
	Outside  string            `json:"outside,omitempty"` // HOST:PORT at which clients outside the range reach PortMedia over TCP
	Edges    []string          `json:"edges,omitempty"`   // names of all edges
	Chats    []string          `json:"chats,omitempty"`   // names of all danmaku servers
	Ingests  []string          `json:"ingests,omitempty"`
	Primary  string            `json:"primary,omitempty"` // of a replica: the server that it follows
	Replica  string            `json:"replica,omitempty"` // of MariaDB, if it has one
	Names    map[string]string `json:"names,omitempty"`   // of all hosts, with their addresses: for the name server
}

// ReadConfig reads a component's configuration.
func ReadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("component configuration: %w", err)
	}
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, fmt.Errorf("component configuration %s: %w", path, err)
	}
	return c, nil
}

// Peer gives the address of another component's port.
func (c Config) Peer(name string, port int) string {
	addr := net.JoinHostPort(name, strconv.Itoa(port))
	if other, ok := c.Peers[addr]; ok {
		return other
	}
	return addr
}

// Bind gives the address to listen on.
func (c Config) Bind(port int) string { return net.JoinHostPort(c.Listen, strconv.Itoa(port)) }

// Open listens on one of the component's ports. A component does so before it says that it is healthy.
func (c Config) Open(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", c.Bind(port))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return l, nil
}

// Wait sleeps for d or until ctx ends, and tells whether the whole time passed.
func Wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil // both were ready: the end counts
	}
}

// WaitUntil waits for something that should be so in a moment, at most for a limit.
func WaitUntil(ctx context.Context, limit time.Duration, is func() bool) error {
	for end := time.Now().Add(limit); !is(); {
		if time.Now().After(end) {
			return fmt.Errorf("it is not so after %s", limit)
		}
		if !Wait(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}
