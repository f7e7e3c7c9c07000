package scenarios

import (
	"fmt"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// LoadAlone writes a scenario with one load and no faults. with are settings and regions shares, both as NAME=VALUE. Viewers
// get a stream to watch.
func LoadAlone(kind string, hold time.Duration, with, regions []string) ([]byte, error) {
	settings, err := pairs("--with", with)
	if err != nil {
		return nil, err
	}
	settings["kind"] = kind
	shares, err := pairs("--region", regions)
	if err != nil {
		return nil, err
	}
	if len(shares) > 0 {
		settings["regions"] = shares
	}
	loads := map[string]any{kind: settings}
	if kind == "hls" {
		loads["streamers"] = map[string]any{"kind": "rtmp", "publishers": 1}
	}
	return yaml.Marshal(map[string]any{"name": "load-" + kind, "summary": "One load alone.", "load": loads,
		"phases": map[string]string{"warm-up": "3s", "steady": hold.String(), "recovery": "0s"}})
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
