// Package danmaku breaks bullet chat by its own members: those who do not read, who say too much, who all come at once.
package danmaku

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"time"

	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/danmaku"
)

var roomName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func checkRoom(name string) error {
	if !roomName.MatchString(name) {
		return fmt.Errorf("room: %q is not 1 to 64 letters, digits and dashes", name)
	}
	return nil
}

// join takes a place in a room.
func join(ctx context.Context, on target.Component, room string) (*danmaku.Conn, error) {
	addr, err := clients.InRange(on, "ws")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return danmaku.Join(ctx, "ws://"+addr+"/ws?room="+room, func(ctx context.Context, _, addr string) (net.Conn, error) {
		return clients.Dial(on)(ctx, "tcp4", addr)
	})
}
