package hosts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/livedrill/livedrill/target"
)

// Group is a cgroup of either version under which others can be made. The zero value is none.
type Group struct {
	target.Cgroup
	Reason string `json:"reason,omitempty"` // why there is none
}

const cgroupRoot = "/sys/fs/cgroup"

// MakeGroup makes the cgroup of a run, in version 2 where the machine gives it the controllers, else in version 1, else
// none with the reason.
func MakeGroup(name string) Group {
	if !safeName(name) {
		return Group{Reason: fmt.Sprintf("%q is no name for a cgroup", name)}
	}
	v2, errV2 := makeV2(name)
	if errV2 == nil {
		return v2
	}
	v1, errV1 := makeV1(name)
	if errV1 == nil {
		return v1
	}
	return Group{Reason: fmt.Sprintf("version 2: %v; version 1: %v", errV2, errV1)}
}

func makeV2(name string) (Group, error) {
	for _, root := range []string{cgroupRoot, filepath.Join(cgroupRoot, "unified")} {
		text, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
		if err != nil {
			continue
		}
		have := strings.Fields(string(text))
		if !slices.Contains(have, "cpu") || !slices.Contains(have, "memory") {
			continue
		}
		dir := filepath.Join(root, name)
		err = enable(root, "cpu", "memory")
		if err == nil {
			err = os.Mkdir(dir, 0o755)
		}
		if err == nil {
			err = enable(dir, "cpu", "memory")
		}
		if err != nil {
			return Group{}, errors.Join(err, removeIfThere(dir))
		}
		g := Group{Cgroup: target.Cgroup{Version: 2, CPU: dir, Usage: dir, Memory: dir}}
		if slices.Contains(have, "pids") && enable(root, "pids") == nil && enable(dir, "pids") == nil {
			g.PIDs = dir
		}
		return g, nil
	}
	return Group{}, errors.New("no cpu and memory controller")
}

// enable gives the groups below dir controllers, where they do not have them already.
func enable(dir string, controllers ...string) error {
	path := filepath.Join(dir, "cgroup.subtree_control")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	have := strings.Fields(string(text))
	var want []string
	for _, c := range controllers {
		if !slices.Contains(have, c) {
			want = append(want, "+"+c)
		}
	}
	if len(want) == 0 {
		return nil
	}
	return os.WriteFile(path, []byte(strings.Join(want, " ")), 0)
}

func makeV1(name string) (Group, error) {
	g := Group{Cgroup: target.Cgroup{Version: 1, CPU: filepath.Join(cgroupRoot, "cpu", name),
		Usage: filepath.Join(cgroupRoot, "cpuacct", name), Memory: filepath.Join(cgroupRoot, "memory", name)}}
	for _, dir := range directories(g.Cgroup) {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return Group{}, errors.Join(err, RemoveGroup(g.Cgroup))
		}
	}
	pids := filepath.Join(cgroupRoot, "pids", name)
	if err := os.Mkdir(pids, 0o755); err == nil || errors.Is(err, os.ErrExist) { // without it one fault less works
		g.PIDs = pids
	}
	return g, nil
}

// directories are the group's own, each once (cpu and cpuacct are often one hierarchy under two names).
func directories(g target.Cgroup) []string {
	var out []string
	for _, dir := range []string{g.CPU, g.Usage, g.Memory, g.PIDs} {
		if dir == "" {
			continue
		}
		if real, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
			dir = filepath.Join(real, filepath.Base(dir))
		}
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// Sub makes a group below; below none there is none.
func (g Group) Sub(name string) (target.Cgroup, error) {
	if g.Version == 0 {
		return target.Cgroup{}, nil
	}
	if !safeName(name) {
		return target.Cgroup{}, fmt.Errorf("%q is no name for a cgroup", name)
	}
	sub := target.Cgroup{Version: g.Version, CPU: filepath.Join(g.CPU, name), Usage: filepath.Join(g.Usage, name),
		Memory: filepath.Join(g.Memory, name)}
	if g.PIDs != "" {
		sub.PIDs = filepath.Join(g.PIDs, name)
	}
	for _, dir := range directories(sub) {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return target.Cgroup{}, fmt.Errorf("cgroup: %w", err)
		}
	}
	return sub, nil
}

// GroupOf finds what there is of a run's cgroup by its name alone, for a run that died before it could note more.
func GroupOf(name string) target.Cgroup {
	var g target.Cgroup
	if !safeName(name) {
		return g
	}
	for _, c := range []struct {
		into *string
		dirs []string
	}{{&g.CPU, []string{"cpu", "unified", ""}}, {&g.Usage, []string{"cpuacct", "unified", ""}}, {&g.Memory, []string{"memory", "unified", ""}},
		{&g.PIDs, []string{"pids", "unified", ""}}} {
		for _, dir := range c.dirs {
			path := filepath.Join(cgroupRoot, dir, name)
			if _, err := os.Stat(path); err == nil {
				*c.into, g.Version = path, 1
				break
			}
		}
	}
	return g
}

// RemoveGroup removes a group and all below it. Whoever is still in there has outlived the range that he belonged to, and is killed.
func RemoveGroup(g target.Cgroup) error {
	var errs []error
	for _, dir := range directories(g) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		errs = append(errs, err)
		for _, e := range entries {
			if e.IsDir() {
				if strings.HasPrefix(filepath.Base(dir), "livedrill-") {
					killAll(filepath.Join(dir, e.Name()))
				}
				errs = append(errs, removeIfThere(filepath.Join(dir, e.Name())))
			}
		}
		errs = append(errs, removeIfThere(dir))
	}
	return errors.Join(errs...)
}

func killAll(group string) {
	text, _ := os.ReadFile(filepath.Join(group, "cgroup.procs")) // it is gone, with all in it
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it has ended meanwhile
		}
	}
}

func removeIfThere(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
