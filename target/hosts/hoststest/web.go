package hoststest

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/livedrill/livedrill/target/hosts"
)

// Listen opens a TCP port on a host of the range.
func Listen(t *testing.T, host *hosts.Host, port int) (l net.Listener) {
	t.Helper()
	if err := host.Do(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", host.Addr, port))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return l
}

// Web has a handler answer at a port of a host until the test ends.
func Web(t *testing.T, host *hosts.Host, port int, handler http.Handler) {
	t.Helper()
	web, l, over := &http.Server{Handler: handler}, Listen(t, host, port), make(chan struct{})
	go func() { defer close(over); _ = web.Serve(l) }()
	t.Cleanup(func() { web.Close(); <-over })
}
