package injectortest

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/livedrill/livedrill/injectors"
)

// Cases are what a family's conformance test tries: every kind of its list, under the kind's name without the family, so that none can be
// forgotten by a test that goes through them. A kind is tried with its defaults, or as in told, which may have more than one case of it: "loss", "loss, one way".
func Cases(kinds []injectors.Kind, told map[string]func() injectors.Fault) map[string]func() injectors.Fault {
	out := map[string]func() injectors.Fault{}
	for _, k := range kinds {
		out[thing(k)] = k.Default
	}
	for name, f := range told {
		kind, _, _ := strings.Cut(name, ", ")
		if usual := out[kind]; usual == nil || sort(usual()) != sort(f()) {
			panic(fmt.Sprintf("the case %q is none of a kind of this family", name))
		}
	}
	for name, f := range told {
		out[name] = f
	}
	return out
}

// thing is a kind's name without its family.
func thing(k injectors.Kind) string {
	_, name, _ := strings.Cut(k.Name, ".")
	return name
}

// sort tells kinds apart: by their settings' type, and by what several kinds of one type do.
func sort(f injectors.Fault) string {
	v := reflect.ValueOf(f).Elem()
	out := v.Type().String()
	if s := v.FieldByName("Sort"); s.IsValid() {
		out += " " + s.String()
	}
	return out
}

// killAll tells whether each case is killed, instead of one for those that save, change and restore alike, and more often.
func killAll() bool { return os.Getenv("LIVEDRILL_KILL_ALL") != "" }
