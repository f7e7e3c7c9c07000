package documents

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// Langs are the languages of reports.
var Langs = []string{"en", "zh"}

// t gives a text of the report in the report's language: a word that the catalogue has, or a sentence whose parts fill one of
// the catalogue's forms. Names of things stay as they are.
func (d Document) t(text string) string {
	if d.Lang != "zh" || text == "" {
		return text
	}
	return toChinese(text, 0)
}

// heads are the heads of a table.
func (d Document) heads(names ...string) []string {
	for i, n := range names {
		names[i] = d.t(n)
	}
	return names
}

// bounds prints an interval in the report's language.
func (d Document) bounds(low, high *float64, unit string) string {
	text := reports.Bounds(low, high, unit)
	if d.Lang == "zh" {
		text = strings.ReplaceAll(text, " to ", " ~ ")
	}
	return text
}

// form is a sentence with places (%s) that other texts fill; the Chinese may name them in another order (%[2]s).
type form struct {
	english *regexp.Regexp
	chinese string
}

var forms = compile(sentences)

func compile(pairs [][2]string) []form {
	var out []form
	for _, p := range pairs {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(p[0]), "%s", "(.*?)")
		// A percent sign of the sentence itself is no verb.
		chinese := strings.ReplaceAll(strings.ReplaceAll(p[1], "95% ", "95%% "), "95%。", "95%%。")
		out = append(out, form{regexp.MustCompile("(?s)^" + pattern + "$"), chinese})
	}
	return out
}

// deepest is how many sentences can stand within each other.
const deepest = 6

func toChinese(text string, depth int) string {
	if zh, ok := words[text]; ok {
		return zh
	}
	if depth > deepest {
		return text
	}
	for _, f := range forms {
		m := f.english.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		args := make([]any, len(m)-1)
		for i, part := range m[1:] {
			args[i] = toChinese(part, depth+1)
		}
		return fmt.Sprintf(f.chinese, args...)
	}
	return text
}
