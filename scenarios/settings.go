package scenarios

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
)

// Setting is one setting of a fault or a load, as lists and help show it.
type Setting struct {
	Name    string `json:"name"`
	Unit    string `json:"unit"`
	Default string `json:"default"`
	Help    string `json:"help"`
}

// SettingsOf lists the settings of a kind, from a pointer to its defaults.
func SettingsOf(defaults any) []Setting {
	out := []Setting{}
	v := reflect.ValueOf(defaults).Elem()
	for _, field := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		out = append(out, Setting{Name: name, Unit: unitOf(field), Default: defaultText(v.FieldByIndex(field.Index)), Help: field.Tag.Get("help")})
	}
	return out
}

func unitOf(f reflect.StructField) string {
	if u := f.Tag.Get("unit"); u != "" {
		return u
	}
	switch f.Type.Name() {
	case "Ratio":
		return "ratio"
	case "Rate", "Shape":
		return "per second"
	case "Bitrate":
		return "bits per second"
	case "Duration":
		return "duration"
	}
	return ""
}

func defaultText(v reflect.Value) string {
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		if text, err := t.MarshalText(); err == nil {
			return string(text)
		}
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	if v.Kind() == reflect.Struct || v.Kind() == reflect.Map {
		return flat(v.Interface())
	}
	return fmt.Sprint(v.Interface())
}
