package scenarios

import (
	"embed"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

//go:embed library/*.yaml library/alerts/*.yaml
var library embed.FS

// Names lists the scenarios that ship.
func Names() []string {
	files, err := fs.Glob(library, "library/*.yaml")
	if err != nil {
		return nil // the pattern is a constant
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(path.Base(f), ".yaml"))
	}
	return out
}

// Read returns the text of a scenario: one that ships, by name, or a file.
func Read(name string) (file string, text []byte, err error) {
	if !strings.ContainsAny(name, "/.") {
		file = libraryMark + name + ".yaml"
		text, err = library.ReadFile("library/" + name + ".yaml")
		if err != nil {
			return "", nil, fmt.Errorf("no scenario %q%s: livedrill list scenarios shows all; a file needs its .yaml", name,
				reports.Nearest(name, Names()))
		}
		return file, text, nil
	}
	text, err = unit.ReadFile(name)
	return name, text, err
}

// libraryMark begins the names of scenarios that ship; no file of a user is called so.
const libraryMark = "library:"

// maxFile bounds a scenario file.
const maxFile = 1 << 20

// form is the file as it is written, before its kinds are known.
type form struct {
	Name       string   `json:"name"`
	Summary    string   `json:"summary"`
	Cause      string   `json:"cause"`
	Seed       uint64   `json:"seed"`
	Target     Target   `json:"target"`
	Phases     Phases   `json:"phases"`
	Load       later    `json:"load"`
	Faults     later    `json:"faults"`
	Surprise   later    `json:"surprise"`
	Objectives later    `json:"objectives"`
	Verify     []string `json:"verify"`
	Alerts     later    `json:"alerts"`
	Incidents  later    `json:"incidents"`
	SLA        sla      `json:"sla"`
	Runbook    later    `json:"runbook"`
	Paths      later    `json:"paths"`
}

// later is a part that is read apart, as its form depends on its kinds.
type later struct{}

// Parse reads a scenario strictly. All mistakes are found at once and returned as Problems. sets are changes of the form
// KEY=VALUE, made before anything is read.
func Parse(file string, text []byte, sets []string) (Scenario, error) {
	if len(text) > maxFile {
		return Scenario{}, fmt.Errorf("%s: %d bytes are too many for a scenario", file, len(text))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return Scenario{}, fmt.Errorf("%s: %w", file, err)
	}
	if doc.Kind == 0 {
		return Scenario{}, fmt.Errorf("%s: is empty", file)
	}
	root := doc.Content[0]
	if nodes := 0; !withoutAliases(root, 0, &nodes) {
		return Scenario{}, fmt.Errorf("%s: its anchors and aliases make it too large, or contain themselves", file)
	}
	for _, s := range sets {
		if err := set(root, s); err != nil {
			return Scenario{}, err
		}
	}
	d := &decoder{file: file}
	s := d.scenario(root)
	if len(d.problems) > 0 {
		slices.SortStableFunc(d.problems, func(a, b Problem) int { return a.Line - b.Line })
		return Scenario{}, d.problems
	}
	return s, nil
}

func (d *decoder) scenario(root *yaml.Node) Scenario {
	f := form{Seed: 1, Target: Target{Profile: "hardened"},
		SLA: sla{RTO: unit.Duration(15 * time.Minute), Availability: 0.999, Judgement: unit.Duration(5 * time.Minute),
			Cause: unit.Duration(30 * time.Minute), Handling: unit.Duration(time.Hour)},
		Phases: Phases{WarmUp: unit.Duration(10 * time.Second), Steady: unit.Duration(20 * time.Second), Recovery: unit.Duration(20 * time.Second)}}
	parts := map[string]*yaml.Node{}
	top := *root
	if root.Kind == yaml.MappingNode { // the parts whose form depends on their kinds are read apart
		top.Content = nil
		for i := 0; i+1 < len(root.Content); i += 2 {
			key := root.Content[i].Value
			if slices.Contains([]string{"load", "faults", "surprise", "objectives", "alerts", "incidents", "runbook", "paths"}, key) && parts[key] == nil {
				parts[key] = root.Content[i+1]
				continue
			}
			top.Content = append(top.Content, root.Content[i], root.Content[i+1])
		}
	}
	d.decode(&top, reflect.ValueOf(&f).Elem(), "")
	s := Scenario{Name: f.Name, Summary: f.Summary, Cause: f.Cause, Seed: f.Seed, Target: f.Target, Phases: f.Phases, Verify: f.Verify}
	if !PlainName(s.Name) {
		d.problem(root, "name", "%q is no name: 1 to 32 letters, digits and dashes", s.Name)
	}
	if s.Cause != "" && !slices.Contains(Causes, s.Cause) {
		d.problem(at(root, "cause"), "cause", "no root cause %q: there are %s", s.Cause, strings.Join(Causes, ", "))
	}
	if _, err := target.ProfileDefences(s.Target.Profile, s.Target.Defences); err != nil {
		d.problem(at(root, "target"), "target", "%v", err)
	}
	if e := s.Target.Encoder; e != "" && !strings.Contains(e, "264") {
		d.problem(at(root, "target"), "target.encoder", "%q makes no H.264, which is what players here read: libx264, h264_nvenc, ...", e)
	}
	for i, name := range s.Target.Drives {
		switch kind, ok := kindOf(name); {
		case !ok:
			d.noComponent(at(root, "target"), fmt.Sprintf("target.drives[%d]", i), "", name)
		case kind == target.KindViewers:
			d.problem(at(root, "target"), fmt.Sprintf("target.drives[%d]", i), "%s have no disk", name)
		}
	}
	if c := s.Target.Canary; c.Share < 0 || c.Share > 0.9 {
		d.problem(at(root, "target"), "target.canary", "a share of %.3g%% is not between 0%% and 90%%", float64(c.Share)*100)
	}
	if _, err := target.ProfileDefences(target.Profiles[0], s.Target.Canary.Defences); err != nil {
		d.problem(at(root, "target"), "target.canary", "%v", err)
	}
	if p := s.Target.Canary.Program; p != "" {
		if _, err := exec.LookPath(p); err != nil {
			d.problem(at(root, "target"), "target.canary.program", "%v", err)
		}
	}
	for _, p := range []unit.Duration{s.Phases.WarmUp, s.Phases.Steady, s.Phases.Recovery} {
		if p > unit.Duration(24*time.Hour) {
			d.problem(at(root, "phases"), "phases", "%s is longer than a day", p)
		}
	}
	for _, v := range s.Verify {
		if !slices.Contains(reports.CheckNames(), v) {
			d.problem(at(root, "verify"), "verify", "no check %q: there are %s", v, strings.Join(reports.CheckNames(), ", "))
		}
	}
	s.Load = d.load(parts["load"], root)
	s.Faults = d.faults(parts["faults"])
	var drawn []Fault
	s.Surprise, drawn = d.surprise(parts["surprise"], s)
	s.Faults = append(s.Faults, drawn...)
	if s.Cause == "" {
		s.Cause = causeOf(s.Faults)
	}
	s.Paths = d.paths(parts["paths"], s.Faults)
	s.Objectives = d.objectives(parts["objectives"], s)
	s.Runbook = d.runbook(parts["runbook"], s.Objectives)
	s.Alerts = d.alerts(parts["alerts"])
	s.Incidents = d.incidents(parts["incidents"])
	s.SLA = d.targets(at(root, "sla"), f.SLA)
	return s
}

// mostNodes bounds a scenario with its aliases written out.
const mostNodes = 50_000

// withoutAliases writes every alias out, so that nothing after it needs to know of them. It is false for a tree without end.
func withoutAliases(n *yaml.Node, depth int, nodes *int) bool {
	if *nodes++; *nodes > mostNodes || depth > 100 {
		return false
	}
	if n.Kind == yaml.AliasNode {
		line := n.Line
		*n = *n.Alias
		n.Line, n.Anchor = line, ""
	}
	own := make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		copied := *child
		if own[i] = &copied; !withoutAliases(own[i], depth+1, nodes) {
			return false
		}
	}
	n.Content = own
	return true
}

// at finds the place of a key, or of the whole mapping when it is not written.
func at(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i]
		}
	}
	return n
}
