package hoststest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// Serve makes this process a component of the bundled platform, if Component has started it as one. TestMain calls it first.
func Serve(kinds map[string]func(context.Context, target.Config) error) {
	if len(os.Args) != 4 || os.Args[1] != "serve" || os.Args[2] != "component" {
		return
	}
	var c target.Config
	err := json.Unmarshal([]byte(os.Args[3]), &c)
	if err == nil {
		err = kinds[c.Kind](context.Background(), c)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Component starts a component on a host of its own, until the test ends, and returns when it is healthy. What it lacks of a configuration it
// gets: an address, a directory and a socket. Others find it among the peers.
func Component(t *testing.T, r *hosts.Range, c target.Config, ports map[string]int) (target.Component, target.Config) {
	t.Helper()
	host, err := r.AddHost(c.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range ports {
		c.Peers[net.JoinHostPort(c.Name, fmt.Sprint(port))] = net.JoinHostPort(host.Addr, fmt.Sprint(port))
	}
	if c.Dir, err = os.MkdirTemp("", "ld"); err != nil { // a socket's path is short
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(c.Dir) })
	c.Listen, c.Socket = host.Addr, filepath.Join(c.Dir, "s")
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(c.Dir, "log")
	p, err := host.Start(hosts.Command{Name: c.Name, Path: "/proc/self/exe", Args: []string{"serve", "component", string(text)}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	on := target.Component{Name: c.Name, Kind: c.Kind, Addr: host.Addr, Socket: c.Socket, Ports: ports, Handles: target.Handles{Network: host.Network()}}
	if err := target.WaitUntil(t.Context(), 60*time.Second, func() bool { return on.Healthy(t.Context()) == nil }); err != nil {
		said, _ := os.ReadFile(log)
		t.Fatalf("%s: %v\n%s", c.Name, err, said)
	}
	return on, c
}
