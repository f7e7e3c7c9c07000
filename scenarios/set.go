package scenarios

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// set changes one value of a scenario: load.chat.rate=100/s, faults.0.with.loss=30%. What is not there is made.
func set(root *yaml.Node, change string) error {
	key, value, ok := strings.Cut(change, "=")
	if !ok || key == "" {
		return fmt.Errorf("--set %s: write it as KEY=VALUE, as in load.chat.rate=100/s", change)
	}
	var parsed yaml.Node
	if err := yaml.Unmarshal([]byte(value), &parsed); err != nil {
		return fmt.Errorf("--set %s: %w", change, err)
	}
	leaf := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
	if len(parsed.Content) == 1 {
		leaf = parsed.Content[0]
	}
	at := root
	steps := strings.Split(key, ".")
	for i, step := range steps {
		last := i == len(steps)-1
		place, err := child(at, step, last)
		if err != nil {
			return fmt.Errorf("--set %s: %s: %w", change, strings.Join(steps[:i+1], "."), err)
		}
		if last {
			line := place.Line
			*place = *leaf
			place.Line = line
			return nil
		}
		at = place
	}
	return nil
}

// child finds one entry of a list or mapping, and makes it in a mapping.
func child(n *yaml.Node, step string, last bool) (*yaml.Node, error) {
	switch n.Kind {
	case yaml.SequenceNode:
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(n.Content) {
			return nil, fmt.Errorf("a list of %d has no entry %q", len(n.Content), step)
		}
		return n.Content[i], nil
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1], nil
			}
		}
		made := &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
		if last {
			made.Kind = yaml.ScalarNode
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: step, Line: n.Line}, made)
		return made, nil
	default:
		return nil, fmt.Errorf("there is one value, and nothing below it")
	}
}
