package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
)

// watchDisks offers what the disks say of their own wear (SMART), by smartctl, where that program is there and may ask them. It is asked
// once: a drill is too short for it to change.
func watchDisks(ctx context.Context, m *record.Metrics) {
	var found struct {
		Devices []struct{ Name, Type string }
	}
	if smartctl(ctx, &found, "--scan") != nil {
		return
	}
	for _, d := range found.Devices {
		var s smart
		if smartctl(ctx, &s, "--health", "--attributes", "--device", d.Type, d.Name) == nil {
			s.offer(m, filepath.Base(d.Name))
		}
	}
}

// smart is what smartctl says of a disk, as far as health is told from it.
type smart struct {
	Status *struct{ Passed bool } `json:"smart_status"`
	NVMe   *struct {
		Used float64 `json:"percentage_used"` // of the writes that it was made for; may be above 100
	} `json:"nvme_smart_health_information_log"`
	Endurance *struct {
		Used float64 `json:"current_percent"`
	} `json:"endurance_used"`
}

// offer makes metrics of what the disk has said.
func (s smart) offer(m *record.Metrics, disk string) {
	labels := prometheus.Labels{"disk": disk}
	if s.Status != nil {
		failing := m.Gauge("livedrill_disk_failing", "1: the disk says of itself that it is about to fail.", labels)
		if !s.Status.Passed {
			failing.Set(1)
		}
	}
	switch {
	case s.NVMe != nil:
		m.Gauge("livedrill_disk_worn_ratio", "Share of the writes that the disk was made for that it has had.", labels).Set(s.NVMe.Used / 100)
	case s.Endurance != nil:
		m.Gauge("livedrill_disk_worn_ratio", "Share of the writes that the disk was made for that it has had.", labels).Set(s.Endurance.Used / 100)
	}
}

// smartctl reads an answer, of a megabyte at most and within ten seconds. Its exit code tells of the disk, not of the question: a failing
// disk has one, too. Disks that sleep are left asleep.
func smartctl(ctx context.Context, into any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var answer bounded
	cmd := exec.CommandContext(ctx, "smartctl", append([]string{"--json=c", "--nocheck=standby"}, args...)...)
	cmd.Stdout = &answer
	cmd.WaitDelay = time.Second // a child of its own may hold the pipe
	if err := cmd.Run(); answer.text.Len() == 0 && err != nil {
		return err
	}
	return json.Unmarshal(answer.text.Bytes(), into)
}

// bounded is a buffer of a megabyte.
type bounded struct{ text bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > 1<<20 {
		return 0, errors.New("more than a megabyte")
	}
	return b.text.Write(p)
}
