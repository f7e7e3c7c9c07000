package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target"
)

// TestAZombieIsDead: a killed run whose parent has not asked how it ended can be recovered.
func TestAZombieIsDead(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	started, err := startOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s := State{PID: cmd.Process.Pid, Started: started}
	if !s.Alive() {
		t.Error("a process that runs is taken for dead")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return strings.Contains(string(stat), ") Z ")
	}); err != nil {
		t.Fatal(err)
	}
	if s.Alive() {
		t.Error("a zombie is taken for a run")
	}
}
