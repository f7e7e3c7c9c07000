package scenarios

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestReference: the page that lists a scenario's keys has all of them, and the scenario on it is one.
func TestReference(t *testing.T) {
	page, err := os.ReadFile("REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("there is no scenario on it")
	}
	if _, err := Parse("REFERENCE.md", []byte(text), nil); err != nil {
		t.Error(err)
	}
	for _, form := range []any{form{}, Target{}, Canary{}, Phases{}, Path{}, faultForm{}, surpriseForm{}, objectiveForm{}, Rule{}, alertsForm{}, sla{}} {
		typ := reflect.TypeOf(form)
		for i := range typ.NumField() {
			key, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if key != "" && !regexp.MustCompile(`(?m)(^|[ {])`+key+":").MatchString(text) {
				t.Errorf("%s of %s is not on it", key, typ.Name())
			}
		}
	}
}
