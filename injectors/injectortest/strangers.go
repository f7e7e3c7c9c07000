package injectortest

import (
	"context"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
)

// Strangers is all that clients may leave on a component: an attack that goes on, and connections, once its kernel has closed those of a
// victim.
func Strangers(ctx context.Context, on target.Component) (any, error) {
	going, n := injectors.Begun(clients.Name(on)), 0
	var err error
	_ = target.WaitUntil(ctx, time.Second, func() bool {
		n, err = clients.Connections(on)
		return err != nil || n == 0 || going
	})
	return fmt.Sprintf("going on %v, connections %v", going, n > 0 && !going), err
}
