package documents

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// writeOpenSLO writes the run's objectives as OpenSLO v1 documents: a service, and one SLO with its own indicator for each
// objective. Shares become ratio metrics; quantiles and other values become thresholds.
func writeOpenSLO(w io.Writer, d Document) error {
	var b strings.Builder
	service := dns(d.Run.Scenario)
	fmt.Fprintf(&b, "apiVersion: openslo/v1\nkind: Service\nmetadata:\n  name: %s\nspec:\n  description: %s\n", service, strconv.Quote(strings.TrimSuffix(d.Run.Summary+" "+d.TimeNote, " ")))
	for _, o := range d.Objectives {
		sli, ok := reports.FindSLI(o.SLI)
		name := dns(o.Name)
		fmt.Fprintf(&b, "---\napiVersion: openslo/v1\nkind: SLO\nmetadata:\n  name: %s\nspec:\n  service: %s\n  description: %s\n", name, service,
			strconv.Quote(strings.TrimSpace(o.Definition+" (during "+o.Phase+")")))
		fmt.Fprintf(&b, "  budgetingMethod: Occurrences\n  timeWindow:\n    - duration: 30d\n      isRolling: true\n  indicator:\n    metadata:\n      name: %s\n    spec:\n", name)
		source := func(indent, expr string) {
			fmt.Fprintf(&b, "%smetricSource:\n%s  type: Prometheus\n%s  spec:\n%s    query: %s\n", indent, indent, indent, indent, strconv.Quote(expr))
		}
		if ok && sli.Total != "" {
			good, target := sli.Good, o.Threshold
			total := "sum(increase(" + sli.Total + "[5m]))"
			bad := strings.HasPrefix(o.Op, "<") != strings.HasPrefix(good, "-") // what the counter counts is not what is wanted
			expr := "sum(increase(" + strings.TrimPrefix(good, "-") + "[5m]))"
			if bad {
				expr = total + " - " + expr
			}
			if strings.HasPrefix(o.Op, "<") {
				target = 1 - target
			}
			b.WriteString("      ratioMetric:\n        counter: false\n        good:\n")
			source("          ", expr)
			b.WriteString("        total:\n")
			source("          ", total)
			fmt.Fprintf(&b, "  objectives:\n    - displayName: %s\n      target: %s\n", strconv.Quote(o.Name), number(target))
			continue
		}
		target := d.Targets.Availability // of the time in which the limit holds: OpenSLO wants one, and an objective of a drill has none
		if !(target > 0) {
			target = 0.999
		}
		expr := o.Expr
		switch {
		case ok && sli.Histogram != "" && o.Quantile != nil:
			expr = fmt.Sprintf("histogram_quantile(%g, sum(rate(%s[5m])))", *o.Quantile, sli.Histogram)
		case ok && sli.Value != "":
			expr = strings.ReplaceAll(sli.Value, " @ $TO", "")
		}
		b.WriteString("      thresholdMetric:\n")
		source("        ", expr)
		op := map[string]string{"<=": "lte", "<": "lt", ">=": "gte", ">": "gt"}[o.Op]
		if op == "" {
			op = "lte" // equality has no word in OpenSLO; the books differ by at most nothing
		}
		fmt.Fprintf(&b, "  objectives:\n    - displayName: %s\n      op: %s\n      value: %s\n      target: %s\n", strconv.Quote(o.Name), op, number(o.Threshold), number(target))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// number writes a number without the dust of binary fractions.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }

// dns is a name as OpenSLO takes it: lower-case letters, digits and dashes.
func dns(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name), "-")
}
