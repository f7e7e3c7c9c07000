package scenarios

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
)

// captureDir is where a run that was asked for packets has them: a file for each fault and host, FAULT-HOST.pcap.
const captureDir = "captures"

// captures record the packets of every link from shortly before a fault until it is clean.
type captures struct {
	dir  string
	mu   sync.Mutex
	open map[string][]*recorded // by fault
	on   []link
}

type link struct {
	host string
	*hosts.Capture
}

type recorded struct {
	link
	file *os.File
	*hosts.Recording
}

// capture opens the links of all hosts. Nobody has to close them: they end with ctx.
func (d *drill) capture(ctx context.Context, all []*hosts.Host) error {
	c := &captures{dir: filepath.Join(d.Dir, captureDir), open: map[string][]*recorded{}}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	for _, h := range all {
		packets, err := h.Capture()
		if err != nil {
			return err
		}
		c.on = append(c.on, link{h.Name, packets})
		d.wg.Go(func() {
			if err := packets.Run(ctx); err != nil {
				slog.Warn("packets", "host", h.Name, "err", err)
			}
		})
	}
	d.captures = c
	return nil
}

// packets begins or ends the recordings of a fault, and notes what is not in them. They are an aid: no verdict stands on them.
func (d *drill) packets(fault string, begin bool) {
	if d.captures == nil {
		return
	}
	tell := func(missing []string, err error) {
		if err != nil {
			missing = append(missing, err.Error())
		}
		if len(missing) > 0 {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.facts.Notes = append(d.facts.Notes, fmt.Sprintf("packets around %s that are not in %s: %s", fault, captureDir, strings.Join(missing, ", ")))
		}
	}
	if begin {
		tell(nil, d.captures.begin(fault))
		return
	}
	d.wg.Go(func() {
		target.Wait(d.always, hosts.Handover)
		tell(d.captures.end(fault))
	})
}

// begin opens the files of a fault.
func (c *captures) begin(fault string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, l := range c.on {
		f, err := os.Create(filepath.Join(c.dir, fault+"-"+l.host+".pcap"))
		if errs = append(errs, err); err == nil {
			c.open[fault] = append(c.open[fault], &recorded{l, f, l.Record(f)})
		}
	}
	return errors.Join(errs...)
}

// end closes them, and says of which hosts packets are missing.
func (c *captures) end(fault string) (missing []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.open[fault] {
		packets, missed, failed := r.End(r.Recording)
		err = errors.Join(err, failed, r.file.Close())
		if missed > 0 {
			missing = append(missing, fmt.Sprintf("%s: %d of %d", r.host, missed, missed+packets))
		}
	}
	delete(c.open, fault)
	return missing, err
}
