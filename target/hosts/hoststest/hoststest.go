// Package hoststest runs tests inside a range of their own: the test binary starts itself again as its first process.
package hoststest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/hosts"
)

// Orders are what the inner test binary is told.
type Orders struct {
	Group hosts.Group `json:"group"`
}

const marker = "LIVEDRILL_TEST_IN_RANGE"

// Main runs all tests of a package inside a range. TestMain calls it and nothing else. Where the machine allows no range,
// the tests are run outside, and those that need one skip with the reason.
func Main(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "serve" && os.Args[2] == disk.Kind { // a test has started a disk
		os.Exit(beDisk(os.Args[4]))
	}
	flag.Parse()
	if os.Getenv(marker) != "" {
		given := false
		flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
		if !given {
			_ = flag.Set("test.parallel", "4") // what is proven in a range waits for packets and clocks most of the time
		}
		os.Exit(inner(m))
	}
	group := hosts.MakeGroup(fmt.Sprintf("livedrill-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err := os.Setenv(marker, "1"); err != nil {
		panic(err)
	}
	var out bytes.Buffer
	session, err := hosts.Enter(os.Args[1:], Orders{group}, &out, &out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "outside a range:", err)
		os.Exit(m.Run())
	}
	<-session.Done()
	_, _ = os.Stdout.Write(out.Bytes())
	for range 50 {
		if err = hosts.RemoveGroup(group.Cgroup); err == nil {
			break
		}
		<-time.After(20 * time.Millisecond) // the kernel frees a cgroup in its own time
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cgroup:", err)
		os.Exit(1)
	}
	os.Exit(session.ExitCode())
}

func beDisk(config string) int {
	c, err := target.ReadConfig(config)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = disk.Serve(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// current is the range of this test binary.
var current *hosts.Range

func inner(m *testing.M) int {
	var o Orders
	orders, err := hosts.Inside(&o)
	if err == nil {
		go func() {
			orders.Watch(func(string) {})
			os.Exit(1)
		}()
		current, err = hosts.Setup(o.Group)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Range gives the range that the test runs in, or skips the test.
func Range(t testing.TB) *hosts.Range {
	t.Helper()
	if current == nil {
		t.Skip("this machine allows no range")
	}
	return current
}
