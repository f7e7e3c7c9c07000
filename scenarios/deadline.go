package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// overdue looks from outside whether the range still ends its faults: it sends what hangs when one should have been over, and is closed when
// it looks no more. A first process that hangs does not let go of anything, but the kernel does once it is killed.
func (s State) overdue(ctx context.Context) <-chan error {
	const patience = 20 // looks in a row that may see nothing; whoever cannot watch does not go on
	out := make(chan error, 1)
	go func() {
		defer close(out)
		for blind := 0; target.Wait(ctx, 500*time.Millisecond); {
			late, err := s.late()
			switch {
			case err != nil && blind < patience:
				blind++
			case err != nil:
				out <- fmt.Errorf("the range was killed: nobody can see whether it hangs: %w", err)
				return
			case len(late) > 0:
				out <- fmt.Errorf("the range hangs, and was killed: %s on %s should have been over by %s", late[0].Kind, late[0].On.Name,
					late[0].Until.Format(time.TimeOnly))
				return
			default:
				blind = 0
			}
		}
	}()
	return out
}

func (s State) late() ([]injectors.Entry, error) {
	path, err := s.JournalPath()
	if err != nil {
		return nil, err
	}
	return injectors.Overdue(path, time.Now())
}
