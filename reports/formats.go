package reports

import (
	"fmt"
	"io"
)

// Format is one form in which a result can be written.
type Format struct {
	Name    string
	Summary string
	Write   func(w io.Writer, r Document) error
}

// Document is all that a format may show.
type Document struct {
	Result
	Lang   string   // en or zh
	Charts []Chart  // the main curves, where the run's time series could be read
	Notes  []string // stated lesser modes

	Problems []string // what went wrong in the run itself
}

// Formats lists every format.
var Formats = []Format{
	{"text", "a summary for the terminal", writeText},
	{"html", "one file that opens anywhere, without a network", writeHTML},
	{"json", "result.json", writeResult},
	{"junit", "JUnit XML for CI", writeJUnit},
	{"markdown", "a summary for a pull request", writeMarkdown},
}

// FindFormat returns a format by its name.
func FindFormat(name string) (Format, error) {
	known := make([]string, len(Formats))
	for i, f := range Formats {
		if f.Name == name {
			return f, nil
		}
		known[i] = f.Name
	}
	return Format{}, fmt.Errorf("no format %q%s: there are %v", name, nearest(name, known), known)
}

// Langs are the languages of reports.
var Langs = []string{"en", "zh"}
