package scenarios

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target/stack"
	"github.com/livedrill/livedrill/target/unit"
)

// describe begins the facts: which run on which machine.
func (d *drill) describe() error {
	platform, err := d.story.Platform()
	if err != nil {
		return err
	}
	inventory, err := platform.Inventory()
	if err != nil {
		return err
	}
	var on []string
	for _, name := range slices.Sorted(maps.Keys(platform.Defences)) {
		if platform.Defences[name] {
			on = append(on, name)
		}
	}
	machine := reports.Machine{Cores: runtime.NumCPU(), GPU: Card(), Root: d.Root, Cgroup: fmt.Sprintf("version %d", d.Group.Version)}
	if v, err := mem.VirtualMemory(); err == nil {
		machine.Memory = v.Total
	}
	machine.Kernel, _ = host.KernelVersion() // unknown stays empty
	d.facts = reports.Facts{Windows: map[string]reports.Window{}, Objectives: d.story.Objectives, Verify: d.story.Verify,
		Alerts: d.story.Alerts, Incidents: d.story.Incidents, Targets: d.story.SLA,
		Run: reports.Run{ID: d.ID, Scenario: d.story.Name, Summary: d.story.Summary, Cause: d.story.Cause, Seed: d.story.Seed, Profile: d.story.Target.Profile, Defences: on, Stack: inventory.Sum,
			TimeScale: d.TimeScale, Started: d.start.Truncate(time.Millisecond), Version: d.Version, Machine: machine}}
	if d.outside != "" { // there is no platform of ours
		d.facts.Run.Stack = ""
	}
	if d.Group.Version == 0 && d.outside == "" {
		machine.Cgroup = "none"
		d.facts.Run.Machine = machine
		d.facts.Notes = append(d.facts.Notes, "no cgroups: the encoders are slowed by stopping and continuing them; "+d.Group.Reason)
	}
	for _, l := range d.story.Load {
		d.facts.Workloads = append(d.facts.Workloads, reports.Workload{Name: l.Name, Kind: l.Kind})
	}
	for _, c := range stack.Targets() {
		if c.Name == stack.ReplicaName && !d.story.replica() {
			continue
		}
		d.facts.Topology = append(d.facts.Topology, reports.Node{Name: c.Name, Kind: c.Kind, Region: c.Region})
	}
	return d.facts.Write(d.Dir)
}

// know changes the facts, which others read and write down meanwhile.
func (d *drill) know(change func(*reports.Facts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.facts)
}

// checkpoint leaves what is known so far, for the judge of a run that dies.
func (d *drill) checkpoint() {
	d.mu.Lock()
	err := d.facts.Write(d.Dir)
	d.mu.Unlock()
	if err != nil {
		d.problem("record: %v", err)
	}
}

// finish leaves the facts to the judge.
func (d *drill) finish() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.facts.Run.Duration == 0 {
		d.facts.Run.Duration = time.Since(d.facts.Run.Started).Seconds()
	}
	d.facts.Finished = true
	return d.facts.Write(d.Dir)
}

// settingsOf gives a fault's settings in base units: shares 0 to 1, seconds, bits per second, bytes.
func settingsOf(f injectors.Fault) map[string]any {
	out := map[string]any{}
	for name, v := range settingFields(reflect.ValueOf(f).Elem()) {
		switch value := v.Interface().(type) {
		case unit.Duration:
			out[name] = value.Seconds()
		default:
			if v.CanFloat() {
				out[name] = v.Float()
			} else {
				out[name] = value
			}
		}
	}
	return out
}

// Card is the model of the first NVIDIA card of this machine; nil: there is none.
func Card() *string {
	names, err := filepath.Glob("/proc/driver/nvidia/gpus/*/information")
	if err != nil || len(names) == 0 {
		return nil
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if model, ok := strings.CutPrefix(line, "Model:"); ok {
			model = strings.TrimSpace(model)
			return &model
		}
	}
	return nil
}

// lastLines gives the end of a process's log.
func (d *drill) lastLines(name string) string {
	data, err := os.ReadFile(filepath.Join(d.Dir, "logs", name+".log"))
	if err != nil {
		return ""
	}
	return string(data[max(0, len(data)-600):])
}
