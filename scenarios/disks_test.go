package scenarios

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/reports/record"
)

// TestWatchDisks asks a smartctl that answers as version 7.3 does: of an NVMe disk that is well, an ATA disk that fails (exit code 8 with it), and one
// that says nothing of itself.
func TestWatchDisks(t *testing.T) {
	dir := t.TempDir()
	script := `#!/bin/sh
case "$*" in
*--scan*) echo '{"devices":[{"name":"/dev/nvme0","type":"nvme"},{"name":"/dev/sda","type":"sat"},{"name":"/dev/sdb","type":"scsi"}]}' ;;
*nvme0) echo '{"smart_status":{"passed":true,"nvme":{"value":0}},"nvme_smart_health_information_log":{"critical_warning":0,"percentage_used":17,"media_errors":0}}' ;;
*sda) echo '{"smart_status":{"passed":false},"ata_smart_attributes":{"table":[]}}'; exit 8 ;;
*) echo '{"smartctl":{"exit_status":4}}'; exit 4 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "smartctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	m := record.NewMetrics()
	watchDisks(t.Context(), m)
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := answer.Body.String()
	for _, line := range []string{`livedrill_disk_failing{disk="nvme0"} 0`, `livedrill_disk_worn_ratio{disk="nvme0"} 0.17`, `livedrill_disk_failing{disk="sda"} 1`} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	t.Run("one that never answers", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "smartctl"), []byte("#!/bin/sh\nsh -c 'sleep 15'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // the drill's end
		defer cancel()
		began := time.Now()
		if watchDisks(ctx, record.NewMetrics()); time.Since(began) > 5*time.Second {
			t.Errorf("the drill waited %s for it", time.Since(began))
		}
	})
	t.Run("one that never stops talking", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "smartctl"), []byte("#!/bin/sh\nyes\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		watchDisks(t.Context(), record.NewMetrics())
	})
	if n := strings.Count(text, "livedrill_disk_"); n != 3+2*2 { // each of two metrics has two lines of help and type
		t.Errorf("%d lines of disks in\n%s", n, text)
	}
}
