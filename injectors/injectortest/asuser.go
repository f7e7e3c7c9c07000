package injectortest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// proven is what a test says whose fault took effect and went again.
var proven = regexp.MustCompile(`--- PASS: Test[^ \n]*/is_proven`)

// nobody is the user and the group without rights on every Linux.
const nobody = 65534

// AsUser runs tests of this binary, by pattern, once more as a user without rights: what works in a user namespace has to work there too. Where the tests are run by such a user already, there is nothing more to do.
func AsUser(t *testing.T, pattern string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("these tests are run without rights already")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", pattern, "-test.v", "-test.count", "1", "-test.timeout", "3m")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir = os.TempDir()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LIVEDRILL_") && !strings.HasPrefix(v, "HOME=") { // it makes a range of its own
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("without rights: %v\n%s", err, out)
	case bytes.Contains(out, []byte("allows no range")):
		t.Skip("this machine gives users without rights no range")
	case !proven.Match(out):
		t.Errorf("without rights nothing was tested:\n%s", out)
	}
}
