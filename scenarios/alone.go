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
	if a.Outside() && len(a.Regions) == 0 {
		settings["regions"] = map[string]string{"north": "100%"} // there are none outside: one worker does it all
	}
	shares, err := pairs("--region", a.Regions)
	if err != nil {
		return nil, err
	}
	if len(shares) > 0 {
		settings["regions"] = shares
	}
	loads := map[string]any{a.Kind: settings}
	if settings["channels"] == nil && settings["url"] == nil && a.usual("channels") == "streamers" {
		loads["streamers"] = map[string]any{"kind": "rtmp", "publishers": 1}
	}
	return yaml.Marshal(map[string]any{"name": "load-" + a.Kind, "summary": "One load alone.", "load": loads,
		"phases": map[string]string{"warm-up": "3s", "steady": a.For.String(), "recovery": "0s"}})
}

// Outside tells whether the load goes to a server of the user's own.
func (a Alone) Outside() bool {
	return slices.ContainsFunc(a.With, func(s string) bool { return strings.HasPrefix(s, "url=") || strings.HasPrefix(s, "targets=") })
}

// usual is a setting's default, or nothing where the kind does not have it.
func (a Alone) usual(setting string) string {
	kind, ok := loadkinds.Find(a.Kind)
	if !ok {
		return ""
	}
	for _, s := range SettingsOf(kind.Default()) {
		if s.Name == setting {
			return s.Default
		}
	}
	return ""
}

// arrivals is the setting that says how many of what the kind makes arrive in a second.
func (a Alone) arrivals() string {
	if a.usual("rate") == "" && a.usual("newcomers") != "" {
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
