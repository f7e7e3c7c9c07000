package scenarios

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/reports"
)

// Problem is one mistake in a scenario, with its place.
type Problem struct {
	File string // empty: settings that stand in no file
	Line int
	Path string
	Text string
}

func (p Problem) String() string {
	var place string
	switch {
	case p.File != "" && p.Line > 0:
		place = fmt.Sprintf("%s:%d: ", p.File, p.Line)
	case p.File != "":
		place = p.File + ": "
	}
	if p.Path != "" {
		place += p.Path + ": "
	}
	return place + p.Text
}

// Problems are all mistakes of a scenario, in the order of the file.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// decoder puts YAML into settings, strictly: every key that no setting has is a mistake, and all mistakes are collected.
type decoder struct {
	file     string
	unit     string // of the setting that is read
	problems Problems
}

func (d *decoder) problem(n *yaml.Node, path, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	d.problems = append(d.problems, Problem{d.file, line, path, fmt.Sprintf(format, args...)})
}

// maxPath bounds how deep settings can be nested, as a path in characters.
const maxPath = 500

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// decode puts n into v, which holds the defaults.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	if len(path) > maxPath { // an alias that contains itself
		d.problem(n, path[:40], "is nested too deeply")
		return
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && v.CanAddr() {
		if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := u.UnmarshalText([]byte(n.Value)); err != nil {
				d.problem(n, path, "%v", err)
			}
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		d.decode(n, v.Elem(), path)
	case reflect.Struct:
		d.fields(n, v, path)
	case reflect.Map:
		if v.IsNil() || len(n.Content) > 0 {
			v.Set(reflect.MakeMap(v.Type())) // what is written replaces the default as a whole
		}
		for key, value := range d.pairs(n, path) {
			item := reflect.New(v.Type().Elem()).Elem()
			d.decode(value, item, join(path, key.Value))
			v.SetMapIndex(reflect.ValueOf(key.Value), item)
		}
	case reflect.Slice:
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			v.SetZero()
			return
		}
		if n.Kind != yaml.SequenceNode {
			d.problem(n, path, "is no list")
			return
		}
		list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			d.decode(item, list.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
		v.Set(list)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, path, "is a list or a mapping where one value is needed")
		return
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		var b bool
		if err = n.Decode(&b); err != nil { // in quotes, as from the command line
			b, err = strconv.ParseBool(n.Value)
		}
		if err == nil {
			v.SetBool(b)
		}
	case reflect.Int:
		var i int64
		if i, err = strconv.ParseInt(n.Value, 10, 64); err == nil {
			v.SetInt(i)
		}
	case reflect.Uint64:
		var u uint64
		if u, err = strconv.ParseUint(n.Value, 10, 64); err == nil {
			v.SetUint(u)
		}
	case reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(n.Value, 64); err == nil {
			v.SetFloat(f)
		}
	default:
		err = fmt.Errorf("cannot be written here")
	}
	if err != nil {
		what := map[reflect.Kind]string{reflect.Bool: "yes or no", reflect.Int: "whole number", reflect.Uint64: "whole number", reflect.Float64: "number"}[v.Kind()]
		if d.unit != "" {
			what += " of " + d.unit
		}
		d.problem(n, path, "%q is no %s", n.Value, what)
	}
}

// pairs walks a mapping, and reports keys that stand twice.
func (d *decoder) pairs(n *yaml.Node, path string) func(func(*yaml.Node, *yaml.Node) bool) {
	return func(yield func(*yaml.Node, *yaml.Node) bool) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			return
		}
		if n.Kind != yaml.MappingNode {
			d.problem(n, path, "is no mapping of names to values")
			return
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if seen[key.Value] {
				d.problem(key, join(path, key.Value), "stands twice")
				continue
			}
			seen[key.Value] = true
			if !yield(key, value) {
				return
			}
		}
	}
}

func (d *decoder) fields(n *yaml.Node, v reflect.Value, path string) {
	known := map[string]setting{}
	var names []string
	for name, field := range settingFields(v) {
		known[name] = field
		names = append(names, name)
	}
	for key, value := range d.pairs(n, path) {
		field, ok := known[key.Value]
		if !ok {
			d.problem(key, join(path, key.Value), "no such setting%s", reports.Nearest(key.Value, names))
			continue
		}
		d.unit = field.unit
		d.decode(value, field.Value, join(path, key.Value))
		d.unit = ""
	}
}

// setting is one of a struct's, with its unit if it has one.
type setting struct {
	reflect.Value
	unit string
}

// settingFields walks the settings of a struct: the fields with a name for JSON, those of what is embedded too.
func settingFields(v reflect.Value) func(func(string, setting) bool) {
	return func(yield func(string, setting) bool) {
		for _, field := range reflect.VisibleFields(v.Type()) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && name != "-" && !yield(name, setting{v.FieldByIndex(field.Index), field.Tag.Get("unit")}) {
				return
			}
		}
	}
}

// validator is settings that can find their own mistakes.
type validator interface{ Validate() error }

// validate reports the mistakes that settings find in themselves, at the line of n.
func (d *decoder) validate(n *yaml.Node, v any, path string) {
	checked, ok := v.(validator)
	if !ok {
		return
	}
	err := checked.Validate()
	if err == nil {
		return
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		at := n
		if key, _, found := strings.Cut(line, ":"); found && n.Kind == yaml.MappingNode {
			if i := slices.IndexFunc(n.Content, func(c *yaml.Node) bool { return c.Value == key }); i >= 0 {
				at = n.Content[i]
			}
		}
		d.problem(at, path, "%s", line)
	}
}
