// Package danmaku breaks bullet chat by its own members: those who do not read, who say too much, who all come at once.
package danmaku

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"time"

	"github.com/lxzan/gws"

	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
)

var roomName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func checkRoom(name string) error {
	if !roomName.MatchString(name) {
		return fmt.Errorf("room: %q is not 1 to 64 letters, digits and dashes", name)
	}
	return nil
}

// join opens a connection to a room by hand: the handshake of RFC 6455, 4.1, and nothing more.
func join(ctx context.Context, on target.Component, room string) (net.Conn, error) {
	addr, err := clients.InRange(on, "ws")
	if err != nil {
		return nil, err
	}
	conn, err := clients.Dial(on)(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	_, err = fmt.Fprintf(conn, "GET /ws?room=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bGl2ZWRyaWxsbGl2ZWRyaQ==\r\n\r\n", room, addr)
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(bufio.NewReaderSize(conn, 512), nil); err == nil {
			_ = resp.Body.Close() // an upgrade has none
			if resp.StatusCode != http.StatusSwitchingProtocols {
				err = errors.New(resp.Status)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, conn.SetDeadline(time.Time{})
}

// member joins a room as a real client does.
func member(ctx context.Context, on target.Component, room string, handler gws.Event) (conn *gws.Conn, err error) {
	addr, err := clients.InRange(on, "ws")
	if err != nil {
		return nil, err
	}
	raw, err := clients.Dial(on)(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	conn, _, err = gws.NewClientFromConn(handler, &gws.ClientOption{Addr: "ws://" + addr + "/ws?room=" + room, //nolint:bodyclose // an upgrade has no body
		HandshakeTimeout: 3 * time.Second, ReadMaxPayloadSize: 8 << 20, Recovery: gws.Recovery}, raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}
