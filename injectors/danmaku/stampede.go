package danmaku

import (
	"context"
	"errors"

	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
)

// Stampede lets members come and go all at once, as after a server was lost: connections, not messages, are the load.
type Stampede struct {
	clients.Repeated
	Room string `json:"room" help:"that they join"`
}

// Validate finds settings that cannot work.
func (f *Stampede) Validate() error { return errors.Join(f.Repeated.Validate(), checkRoom(f.Room)) }

// Check is part of injectors.Fault.
func (*Stampede) Check(_ context.Context, on target.Component) error { return clients.Free(on, "ws") }

// Inject is part of injectors.Fault.
func (f *Stampede) Inject(ctx context.Context, on target.Component) error {
	return f.Run(ctx, on, func(ctx context.Context, _ uint64) clients.Answer {
		conn, err := join(ctx, on, f.Room)
		if err != nil {
			return clients.Failed
		}
		_ = conn.Close() // and the next one comes
		return clients.Got
	}, func() {})
}
