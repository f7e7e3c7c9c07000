package scenarios

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// controlFD is the first descriptor that a range is started with: its control socket; the listeners of Orders.Exposed follow.
const controlFD = 4

// listeners takes over what the range was started with, control socket first, so that no component inherits it.
func (o Orders) listeners() (out []net.Listener, err error) {
	for i := range 1 + len(o.Exposed) {
		f := os.NewFile(uintptr(controlFD+i), "listener")
		l, err := net.FileListener(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("listener %d: %w", i, err)
		}
		out = append(out, l)
	}
	return out, nil
}
