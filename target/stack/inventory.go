package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"

	"github.com/livedrill/livedrill/target"
)

// Inventory says what a platform is made of, in a form that is also a file of variables for Terraform (NAME.tfvars.json). Two platforms that
// are the same have the same sum.
type Inventory struct {
	Sum        string          `json:"stack_sha256"` // of this document, without white space and with this left empty
	Profile    string          `json:"profile"`
	Defences   target.Defences `json:"defences"`
	Encoder    string          `json:"encoder"` // empty: what the machine has
	Canary     *Canary         `json:"canary"`
	Components []Part          `json:"components"`
}

// Part is one component of an inventory.
type Part struct {
	Name     string         `json:"name"`
	Kind     string         `json:"kind"`
	Region   string         `json:"region"`
	Programs []string       `json:"programs"`
	Ports    map[string]int `json:"ports"`
	Drive    bool           `json:"drive,omitempty"` // whether its disk can be told to be slow or fail
	Conf     string         `json:"config_sha256"`   // of the real server's configuration file, without secrets; empty: it has none
}

// Inventory lists what these options bring up. Secrets and paths of a run are left out; of a canary's own program it has the sum.
func (o Options) Inventory() (Inventory, error) {
	o.Secrets, o.Outside, o.OpenKeys = target.Secrets{}, nil, false
	out := Inventory{Profile: o.Profile, Defences: o.Defences, Encoder: o.Encoder, Canary: o.Canary}
	if o.Canary != nil && o.Canary.Program != "" {
		program, err := os.ReadFile(o.Canary.Program)
		if err != nil {
			return Inventory{}, err
		}
		canary := *o.Canary
		canary.Program = "sha256:" + sum(program)
		out.Canary = &canary
	}
	for _, p := range o.layout() {
		kind, _ := FindKind(p.kind)
		part := Part{Name: p.name, Kind: p.kind, Region: p.region, Programs: append([]string{}, kind.Programs...), Ports: kind.Ports, Drive: slices.Contains(o.Drives, p.name)}
		if kind.Conf != nil {
			c, _ := o.Config(p.name)
			part.Conf = sum([]byte(kind.Conf(c)))
		}
		out.Components = append(out.Components, part)
	}
	text, err := json.Marshal(out)
	out.Sum = sum(text)
	return out, err
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}
