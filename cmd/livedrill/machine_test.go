package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// machine is what else a run could leave on a machine, or change of what others have there.
func machine(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		out["interfaces"] = append(out["interfaces"], fmt.Sprint(l.Attrs().Name, " ", l.Attrs().Flags))
		queues, err := netlink.QdiscList(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queues {
			said := fmt.Sprint(l.Attrs().Name, " ", q.Type(), q.Attrs().Handle, q.Attrs().Parent)
			if bucket, ok := q.(*netlink.Tbf); ok {
				said += fmt.Sprint(" ", bucket.Rate, " ", bucket.Limit, " ", bucket.Buffer)
			}
			out["queues"] = append(out["queues"], said)
		}
	}
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := nft.ListTables()
	if err != nil && os.Getuid() == 0 { // others may not look, and so not change anything either
		t.Fatal(err)
	}
	for _, table := range tables {
		out["tables"] = append(out["tables"], fmt.Sprint(table.Family, " ", table.Name))
	}
	chains, err := nft.ListChains()
	if err != nil && os.Getuid() == 0 {
		t.Fatal(err)
	}
	for _, c := range chains {
		rules, err := nft.GetRules(c.Table, c)
		if err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprint(c.Table.Family, " ", c.Table.Name, " ", c.Name, ":")
		for _, r := range rules {
			said += fmt.Sprint(" ", r.Handle, " of ", len(r.Exprs), " parts")
		}
		out["chains"] = append(out["chains"], said)
	}
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/bridge/bridge-nf-call-iptables", "kernel/core_pattern", "vm/overcommit_memory"} {
		value, _ := os.ReadFile(filepath.Join("/proc/sys", name)) // a kernel without bridges has none of theirs
		out["settings of the kernel"] = append(out["settings of the kernel"], name+" "+strings.TrimSpace(string(value)))
	}
	rules, err := exec.Command("iptables-save").Output()
	if err != nil && os.Getuid() == 0 {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if !strings.HasPrefix(line, "#") { // the time of day
			out["rules"] = append(out["rules"], counters.ReplaceAllString(line, ""))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	out["mounts"] = strings.Split(string(mounts), "\n")
	for what, pattern := range map[string]string{"namespaces": "/run/netns/*", "temporary files": filepath.Join(os.TempDir(), "livedrill-[0-9]*"),
		"cgroups": "/sys/fs/cgroup/*", "cgroups of version 1": "/sys/fs/cgroup/*/livedrill-*"} {
		if out[what], err = filepath.Glob(pattern); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// counters are what iptables-save writes behind the name of a chain.
var counters = regexp.MustCompile(`\[\d+:\d+\]`)

// unchanged fails the test where the machine is not as it was.
func unchanged(t *testing.T, before map[string][]string) {
	t.Helper()
	same(t, machine(t), before)
}

// same compares two looks at a machine, but for some parts of it.
func same(t *testing.T, now, before map[string][]string, but ...string) {
	t.Helper()
	for what := range before {
		if _, there := now[what]; !there {
			now[what] = nil
		}
	}
	for what := range now {
		if !slices.Equal(now[what], before[what]) && !slices.Contains(but, what) {
			t.Errorf("%s: %q, before %q", what, now[what], before[what])
		}
	}
}
