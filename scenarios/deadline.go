package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// overdue looks from outside whether the range still ends its faults: it sends what hangs when one should have been over, and is closed when
// ctx ends. A first process that hangs does not let go of anything, but the kernel does once it is killed.
func (s State) overdue(ctx context.Context) <-chan error {
	out := make(chan error, 1)
	go func() {
		defer close(out)
		path, err := s.JournalPath()
		for err == nil && target.Wait(ctx, 500*time.Millisecond) {
			var late []injectors.Entry
			if late, err = injectors.Overdue(path, time.Now()); len(late) > 0 {
				out <- fmt.Errorf("the range hangs, and was killed: %s on %s should have been over by %s", late[0].Kind, late[0].On.Name,
					late[0].Until.Format(time.TimeOnly))
				return
			}
		}
		if err != nil { // whoever cannot watch does not go on
			out <- fmt.Errorf("the range was killed: %w", err)
		}
	}()
	return out
}
