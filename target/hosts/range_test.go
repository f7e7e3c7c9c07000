package hosts_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
)

func TestMain(m *testing.M) { hoststest.Main(m) }

// TestHostsReachEachOtherAndNothingElse sends a byte from one host to another, and tries to leave the range.
func TestHostsReachEachOtherAndNothingElse(t *testing.T) {
	r := hoststest.Range(t)
	a, err := r.AddHost("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.AddHost("b")
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	if err := b.Do(func() (err error) { l, err = net.Listen("tcp", b.Addr+":7000"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer c.Close()
		text, _ := io.ReadAll(c)
		got <- string(text)
	}()
	dial := func(addr string) (net.Conn, error) {
		var c net.Conn
		// The dialer's own goroutines would be on other threads: the socket is made here.
		err := a.Do(func() error {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			f := os.NewFile(uintptr(fd), addr)
			defer f.Close()
			to, err := net.ResolveTCPAddr("tcp4", addr)
			if err != nil {
				return err
			}
			if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
				return err
			}
			c, err = net.FileConn(f)
			return err
		})
		return c, err
	}
	c, err := dial(b.Addr + ":7000")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case text := <-got:
		if text != "hello" {
			t.Errorf("got %q", text)
		}
	case <-time.After(5 * time.Second):
		t.Error("nothing arrived")
	}
	for _, outside := range []string{"192.0.2.1:80", "10.0.0.1:80", "169.254.169.254:80"} {
		if _, err := dial(outside); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%s: %v, want no way there", outside, err)
		}
	}
	if _, err := dial("127.0.0.1:7000"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the loopback of a host is its own: %v", err)
	}
}

// TestProcessRunsOnItsHost starts a program and looks at what it sees.
func TestProcessRunsOnItsHost(t *testing.T) {
	r := hoststest.Range(t)
	h, err := r.AddHost("c")
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	p, err := h.Start(hosts.Command{Name: "look", Path: "/bin/sh", Args: []string{"-c", "cat /proc/net/fib_trie; exit 3"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("it does not end")
	}
	if err := p.Failed(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("it ended with %v", err)
	}
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), h.Addr) {
		t.Errorf("it does not see its host's address %s (%v):\n%s", h.Addr, err, text)
	}
	if _, err := h.Start(hosts.Command{Name: "../x", Path: "/bin/true", Log: log}); err == nil {
		t.Error("a name with a path in it was accepted")
	}
	if _, err := h.Start(hosts.Command{Name: "missing", Path: "/no/such/program", Log: log}); err == nil {
		t.Error("a missing program was started")
	}
}

// TestStop ends a program that does not want to.
func TestStop(t *testing.T) {
	r := hoststest.Range(t)
	h, err := r.AddHost("d")
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Start(hosts.Command{Name: "stubborn", Path: "/bin/sh", Args: []string{"-c", "trap '' TERM; while :; do sleep 1; done"},
		Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	p.Stop(200 * time.Millisecond)
	if err := p.Failed(); err != nil {
		t.Errorf("it was told to end, and yet: %v", err)
	}
	hosts.Reap()
}

// TestReplaceFile puts text in the place of a file, of one that a link leads to in /run, which is the range's own, and of none.
func TestReplaceFile(t *testing.T) {
	hoststest.Range(t)
	dir := t.TempDir()
	file, link, broken := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "broken")
	err := errors.Join(os.WriteFile(file, []byte("before"), 0o644), os.Symlink("/run/somebody/conf", link), os.Symlink("/nowhere/conf", broken))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, link} {
		if err := hosts.ReplaceFile(path, "ours"); err != nil {
			t.Errorf("%s: %v", path, err)
		} else if text, err := os.ReadFile(path); string(text) != "ours" {
			t.Errorf("%s holds %q (%v)", path, text, err)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(file, unix.MNT_DETACH) })
	for _, path := range []string{broken, filepath.Join(dir, "none")} {
		if err := hosts.ReplaceFile(path, "ours"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestRemoveGroup ends who is left in a group, as after a component that was killed and left a child behind.
func TestRemoveGroup(t *testing.T) {
	hoststest.Range(t)
	group := hosts.MakeGroup(fmt.Sprintf("livedrill-test-left-%d", time.Now().UnixNano()))
	if group.Version == 0 {
		t.Skip("this machine gives no cgroup: " + group.Reason)
	}
	sub, err := group.Sub("host")
	if err != nil {
		t.Fatal(err)
	}
	left := exec.CommandContext(t.Context(), "sleep", "60")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{sub.CPU, sub.Memory, sub.PIDs} {
		if dir != "" {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(left.Process.Pid)), 0o600); err != nil {
				t.Skip(err)
			}
		}
	}
	if err := target.WaitUntil(t.Context(), 2*time.Second, func() bool { return hosts.RemoveGroup(group.Cgroup) == nil }); err != nil {
		t.Error(err)
	}
	if err := left.Wait(); err == nil || left.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
}
