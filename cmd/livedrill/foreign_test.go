package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
)

// TestOthersAreLeftAlone kills a drill on a machine on which others have their own queues, rules and cgroups, and recovers: everything is as
// they made it. The machine is a network namespace of its own.
func TestOthersAreLeftAlone(t *testing.T) {
	needRange(t)
	if os.Getuid() != 0 {
		t.Skip("only root has a network namespace in which others could have something")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip(err)
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "livedrill-other", TxQLen: 100}, PeerName: "livedrill-peer"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Skip(err)
	}
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "livedrill-somebody"})
	chain := nft.AddChain(&nftables.Chain{Name: "faults", Table: table})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
	if err := nft.Flush(); err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command("iptables", "-t", "mangle", "-A", "PREROUTING", "-i", "lo", "-m", "comment", "--comment", "somebody", "-j", "ACCEPT").CombinedOutput(); err != nil {
		t.Skipf("iptables: %v: %s", err, out)
	}
	if err := netlink.QdiscAdd(&netlink.Tbf{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate: 125_000, Limit: 10_000, Buffer: 5000}); err != nil {
		t.Skip(err)
	}
	group := filepath.Join("/sys/fs/cgroup/cpu", fmt.Sprintf("somebody-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err == nil {
		t.Cleanup(func() { os.Remove(group) })
		if err := os.WriteFile(filepath.Join(group, "cpu.shares"), []byte("777"), 0); err != nil {
			t.Fatal(err)
		}
	}
	theirs := func() map[string][]string {
		out := machine(t)
		shares, _ := os.ReadFile(filepath.Join(group, "cpu.shares")) // no cgroups of version 1: nothing to compare
		out["shares"] = []string{string(shares)}
		return out
	}
	before := theirs()
	for what, sign := range map[string]string{"queues": "tbf", "rules": "somebody", "chains": "1 parts"} {
		if !strings.Contains(fmt.Sprint(before[what]), sign) {
			t.Fatalf("nothing of theirs is there: %s %q", what, before[what])
		}
	}
	state := t.TempDir()
	cmd, dir, _ := evening(t, state)
	proven(t, dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	target.Wait(t.Context(), time.Second)
	same(t, theirs(), before, "cgroups", "cgroups of version 1") // recover removes those
	recovery := exec.Command(binary, "recover")
	recovery.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
	if out, err := recovery.CombinedOutput(); err != nil {
		t.Errorf("recover: %v\n%s", err, out)
	}
	same(t, theirs(), before)
}
