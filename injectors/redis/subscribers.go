package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Subscribers lets clients subscribe that do not read: what they are sent piles up in the server's memory, and counts against
// its limit. It is how danmaku fills a Redis that holds next to nothing.
type Subscribers struct {
	Clients int `json:"clients" help:"subscribers that do not read"`
	Each    int `json:"each" unit:"MiB" help:"that piles up for each; Redis itself closes one at 32 MiB, if it is not told otherwise"`
}

const (
	deafChannel = "livedrill:deaf"
	deafName    = "livedrill-deaf" // by which the server knows them
)

// Validate finds settings that cannot work.
func (f *Subscribers) Validate() error {
	if f.Clients < 1 || f.Clients > 500 {
		return fmt.Errorf("clients: %d is not between 1 and 500", f.Clients)
	}
	if f.Each < 1 || f.Each > 28 {
		return fmt.Errorf("each: %d MiB is not between 1 and 28", f.Each)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Subscribers) BackEnd() string { return "SUBSCRIBE" }

// Check is part of injectors.Fault.
func (f *Subscribers) Check(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := c.PubSubNumSub(ctx, deafChannel).Result()
	switch hard := limitOf(ctx, c).hard; {
	case err != nil:
	case n[deafChannel] > 0:
		err = errors.New("another fault has its subscribers there already")
	case hard > 0 && f.bytes() >= hard-hard/8:
		err = fmt.Errorf("each: %d MiB is too near to the %.1f MiB at which this server closes a subscriber", f.Each, float64(hard)/(1<<20))
	}
	return err
}

// bytes are what waits for each.
func (f *Subscribers) bytes() int64 { return int64(f.Each) << 20 }

// Save is part of injectors.Fault: subscribers go when their connections do.
func (*Subscribers) Save(context.Context, target.Component) (injectors.Original, error) {
	return nothing()
}

func (*Subscribers) name(on target.Component) string {
	return "redis subscribers " + on.Handles.Redis.Addr
}

// Inject is part of injectors.Fault.
func (f *Subscribers) Inject(ctx context.Context, on target.Component) error {
	c, err := Dial(on)
	if err != nil {
		return err
	}
	defer c.Close()
	conns, err := f.subscribe(ctx, on)
	if err == nil {
		err = f.fill(ctx, c)
	}
	if err == nil {
		err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) { f.hold(ctx, on, conns) })
	}
	if err != nil {
		leave(conns)
	}
	return err
}

// hold keeps the subscribers until ctx ends. Others take the place of those whom Redis would close.
func (f *Subscribers) hold(ctx context.Context, on target.Component, conns []net.Conn) {
	defer func() { leave(conns) }()
	c, err := Dial(on)
	if err != nil {
		return
	}
	defer c.Close()
	limit := limitOf(ctx, c)
	if limit.soft == 0 || f.bytes() < limit.soft-limit.soft/8 {
		<-ctx.Done()
		return
	}
	for target.Wait(ctx, limit.after*5/6) {
		next, err := f.subscribe(ctx, on)
		if err != nil {
			leave(next)
			continue // the effect tells
		}
		leave(conns)
		conns = next
		_ = f.fill(ctx, c) // as above
	}
}

// leave closes connections: that is how a subscriber leaves.
func leave(conns []net.Conn) {
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// subscribe opens the connections of all subscribers, or as many as it can.
func (f *Subscribers) subscribe(ctx context.Context, on target.Component) (conns []net.Conn, err error) {
	for range f.Clients {
		conn, err := subscribe(ctx, on)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// subscribe opens a connection that says SUBSCRIBE, hears that it is, and reads nothing more. Its own buffer is kept small: what
// it does not read shall wait in the server.
func subscribe(ctx context.Context, on target.Component) (net.Conn, error) {
	h := on.Handles.Redis
	conn, err := connect(ctx, on)
	if err != nil {
		return nil, err
	}
	if b, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		_ = b.SetReadBuffer(4096) // a larger one only takes more to fill
	}
	order := ""
	if h.Password != "" {
		order = fmt.Sprintf("*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(h.Password), h.Password)
	}
	order += fmt.Sprintf("*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$%d\r\n%s\r\n", len(deafName), deafName)
	order += fmt.Sprintf("*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(deafChannel), deafChannel)
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err = conn.Write([]byte(order)); err == nil {
		var got []byte
		for buf := make([]byte, 256); err == nil && !strings.Contains(string(got), deafChannel); {
			var n int
			n, err = conn.Read(buf)
			got = append(got, buf[:n]...)
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// fill publishes until as much piles up as was asked for.
func (f *Subscribers) fill(ctx context.Context, c *redis.Client) error {
	piece := make([]byte, 256<<10)
	for range f.Each * 4 {
		if err := c.Publish(ctx, deafChannel, piece).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Effect reads from the server's list of clients how many there are of ours, and what waits for them.
func (f *Subscribers) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	c, err := Dial(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer c.Close()
	list, err := c.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
	waiting, n := 0.0, 0
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if !slices.Contains(fields, "name="+deafName) {
			continue
		}
		n++
		for _, field := range fields {
			if v, ok := strings.CutPrefix(field, "omem="); ok {
				var bytes float64
				_, _ = fmt.Sscan(v, &bytes) // the server's own form
				waiting += bytes
			}
		}
	}
	asked := float64(f.Clients*f.Each) * (1 << 20)
	return injectors.Measured{N: uint64(max(n, 1)), Asked: map[string]float64{"waiting_bytes": asked}, Is: map[string]float64{"waiting_bytes": waiting,
		"subscribers": float64(n)}, Bites: waiting > 0.5*asked, Clean: n == 0, Reason: fmt.Sprintf("%.1f MiB wait for %d subscribers", waiting/(1<<20), n)}, err
}

// Restore is part of injectors.Fault.
func (f *Subscribers) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	return nil
}
