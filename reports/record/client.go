package record

import (
	"context"
	"net"
	"net/http"
)

// Client asks a process on its Unix socket; the host in an address means nothing. Its connections are not kept.
func Client(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialSocket(socket)}}
}

func dialSocket(socket string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
}
