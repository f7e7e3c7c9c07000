package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	loadkinds "github.com/livedrill/livedrill/loadgen/kinds"
)

// Alone is one load by itself, as a command's flags say it. Empty texts are not written.
type Alone struct {
	Kind     string
	For      time.Duration
	Rate     string   // arrivals, of whatever arrives
	Shape    string   // form of the rate over time
	RoomSize string   // members of each room
	Segment  string   // I/N
	With     []string // other settings, as NAME=VALUE
	Regions  []string // shares, as NAME=VALUE
}

// YAML writes the load as a scenario without faults. Viewers get a stream to watch.
func (a Alone) YAML() ([]byte, error) {
	settings, err := pairs("--with", a.With)
	if err != nil {
		return nil, err
	}
	if rate := strings.TrimSpace(a.Rate + " " + a.Shape); rate != "" {
		settings[a.arrivals()] = rate
	}
	if a.RoomSize != "" {
		settings["rooms"] = map[string]string{"size": a.RoomSize}
	}
	if a.Segment != "" {
		settings["segment"] = a.Segment
	}
	settings["kind"] = a.Kind
	shares, err := pairs("--region", a.Regions)
	if err != nil {
		return nil, err
	}
	if len(shares) > 0 {
		settings["regions"] = shares
	}
	loads := map[string]any{a.Kind: settings}
	if _, watches := settings["channels"]; !watches && a.has("channels") && settings["url"] == nil {
		loads["streamers"] = map[string]any{"kind": "rtmp", "publishers": 1}
	}
	return yaml.Marshal(map[string]any{"name": "load-" + a.Kind, "summary": "One load alone.", "load": loads,
		"phases": map[string]string{"warm-up": "3s", "steady": a.For.String(), "recovery": "0s"}})
}

// has tells whether the kind has a setting.
func (a Alone) has(setting string) bool {
	kind, ok := loadkinds.Find(a.Kind)
	return ok && slices.ContainsFunc(SettingsOf(kind.Default()), func(s Setting) bool { return s.Name == setting })
}

// arrivals is the setting that says how many of what the kind makes arrive in a second.
func (a Alone) arrivals() string {
	if !a.has("rate") && a.has("newcomers") {
		return "newcomers"
	}
	return "rate"
}

// pairs reads NAME=VALUE texts that a flag was given.
func pairs(flag string, texts []string) (map[string]any, error) {
	out := map[string]any{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s %s: write it as NAME=VALUE", flag, text)
		}
		out[name] = value
	}
	return out, nil
}
