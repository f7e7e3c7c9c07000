package reports

import (
	"context"
	"io"
)

// Chart is one curve of the report.
type Chart struct{}

func writeHTML(w io.Writer, d Document) error { return writeText(w, d) }

func (j judge) charts(ctx context.Context) ([]Chart, error) { return nil, nil }
