package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

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
				d.problem("%s: %v", h.Name, err)
			}
		})
	}
	d.captures = c
	return nil
}

// packets begins or ends the recordings of a fault, and notes what is not in them.
func (d *drill) packets(fault string, begin bool) {
	if d.captures == nil {
		return
	}
	var missing []string
	var err error
	if begin {
		err = d.captures.begin(fault)
	} else {
		missing, err = d.captures.end(fault)
	}
	if err != nil {
		d.problem("packets of %s: %v", fault, err)
	}
	if len(missing) > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.facts.Notes = append(d.facts.Notes, fmt.Sprintf("packets around %s that are not in %s: %s", fault, captureDir, strings.Join(missing, ", ")))
	}
}

// begin opens the files of a fault.
func (c *captures) begin(fault string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.on {
		f, err := os.Create(filepath.Join(c.dir, fault+"-"+l.host+".pcap"))
		if err != nil {
			return err
		}
		c.open[fault] = append(c.open[fault], &recorded{l, f, l.Record(f)})
	}
	return nil
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
