package reports

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/prometheus/promql/parser"
)

// Objective is what a run shall hold: an SLI, or any PromQL, against a limit, during a phase or a fault.
type Objective struct {
	Name      string  `json:"name"`
	SLI       string  `json:"sli,omitempty"`
	Quantile  float64 `json:"quantile,omitempty"` // 0: none
	Op        string  `json:"op"`
	Threshold float64 `json:"threshold"`
	During    string  `json:"during"` // a phase, a fault's kind or id, or "run"
	Expr      string  `json:"expr,omitempty"`
	Abort     bool    `json:"abort,omitempty"` // a run that has missed it for certain is ended at once
}

// WholeRun is all of a run but its warm-up; it is what an objective without "during" speaks of.
const WholeRun = "run"

var objectiveForm = regexp.MustCompile(`^(\S+)(?:\s+p([0-9.]+))?\s*(<=|>=|==|<|>)\s*(\S+)(?:\s+during\s+(\S+))?(\s+abort)?$`)

// ParseObjective reads the short form: SLI [pNN] comparison limit [during PHASE or FAULT] [abort].
func ParseObjective(text string) (Objective, error) {
	m := objectiveForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return Objective{}, fmt.Errorf("%q is no objective: write it as \"stall_ratio <= 2%% during fault\" or "+
			"\"e2e_latency_seconds p95 <= 6s\"", text)
	}
	o := Objective{SLI: m[1], Op: m[3], During: m[5], Abort: m[6] != ""}
	sli, ok := FindSLI(o.SLI)
	if !ok {
		return Objective{}, fmt.Errorf("no SLI %q%s", o.SLI, nearest(o.SLI, names()))
	}
	if m[2] != "" {
		q, err := strconv.ParseFloat(m[2], 64)
		if err != nil || q <= 0 || q >= 100 {
			return Objective{}, fmt.Errorf("p%s is no quantile", m[2])
		}
		o.Quantile = q / 100
	}
	if (sli.Histogram != "") != (o.Quantile > 0) {
		if o.Quantile > 0 {
			return Objective{}, fmt.Errorf("%s is one number and has no quantile", sli.Name)
		}
		return Objective{}, fmt.Errorf("%s is a distribution: name a quantile, as in \"%s p95 %s %s\"", sli.Name, sli.Name, o.Op, m[4])
	}
	var err error
	if o.Threshold, err = parseLimit(m[4], sli.Unit); err != nil {
		return Objective{}, err
	}
	o.finish()
	return o, nil
}

var exprLimit = regexp.MustCompile(`^(<=|>=|==|<|>)\s*(\S+)$`)

// ExprObjective makes an objective of any PromQL and a limit such as "< 1".
func ExprObjective(name, expr, limit, during string) (Objective, error) {
	m := exprLimit.FindStringSubmatch(strings.TrimSpace(limit))
	if expr == "" || m == nil {
		return Objective{}, errors.New(`an objective in PromQL has an expr and a limit such as "< 1"`)
	}
	if len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune("|<>`", r) }) {
		return Objective{}, fmt.Errorf("%q is no name for an objective: at most 64 plain characters", name)
	}
	threshold, err := parseLimit(m[2], "")
	if err != nil {
		return Objective{}, err
	}
	o := Objective{Name: name, Expr: expr, Op: m[1], Threshold: threshold, During: during}
	o.finish()
	return o, nil
}

func (o *Objective) finish() {
	if o.During == "" {
		o.During = WholeRun
	}
	if o.Name != "" {
		return
	}
	name := strings.NewReplacer("_ratio", "", "_seconds", "", "_", "-").Replace(o.SLI)
	if o.SLI == "" {
		name = "promql"
	}
	if o.Quantile > 0 {
		name += "-p" + strconv.FormatFloat(o.Quantile*100, 'g', -1, 64)
	}
	if o.During != WholeRun {
		name += "-" + strings.ReplaceAll(o.During, ".", "-")
	}
	o.Name = name
}

// parseLimit reads a limit in the SLI's own unit: 99.9% or 0.999, 6s or 200ms, 5.
func parseLimit(text, unit string) (float64, error) {
	if number, ok := strings.CutSuffix(text, "%"); ok && unit != "seconds" && unit != "count" {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !(v >= 0 && v <= 100) { // NaN too
			return 0, fmt.Errorf("%q is no share between 0%% and 100%%", text)
		}
		return math.Round(v*1e10) / 1e12, nil // 99.9 / 100 is not 0.999 in binary
	}
	if d, err := time.ParseDuration(text); err == nil && text != "0" && unit != "ratio" && unit != "count" {
		return d.Seconds(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
		return 0, fmt.Errorf("%q is no limit", text)
	case unit == "seconds" && v != 0:
		return 0, fmt.Errorf("%q has no unit: write 6s or 200ms", text)
	case unit == "ratio" && (v < 0 || v > 1):
		return 0, fmt.Errorf("%q is no share: write it as 2%% or 0.02", text)
	}
	return v, nil
}

// ops are the ways in which a value is compared with its limit.
var ops = []string{"<=", "<", ">=", ">", "=="}

// Holds tells whether a value is within the limit.
func (o Objective) Holds(v float64) bool {
	switch o.Op {
	case "<=":
		return v <= o.Threshold
	case "<":
		return v < o.Threshold
	case ">=":
		return v >= o.Threshold
	case ">":
		return v > o.Threshold
	default:
		return v == o.Threshold
	}
}

func names() []string {
	var out []string
	for _, s := range SLIs {
		out = append(out, s.Name)
	}
	return out
}

// nearest gives a hint when a name is close to a known one.
func nearest(name string, known []string) string {
	best, distance := "", len(name)/3+2
	for _, k := range known {
		if d := edits(name, k); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// Nearest is nearest for other packages' names.
func Nearest(name string, known []string) string { return nearest(name, known) }

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// CheckExpr tells whether PromQL can be read.
func CheckExpr(expr string) error {
	_, err := parser.ParseExpr(expr)
	return err
}

// String is the short form that ParseObjective reads.
func (o Objective) String() string {
	text := o.SLI
	if o.Quantile > 0 {
		text += fmt.Sprintf(" p%g", o.Quantile*100)
	}
	limit := strconv.FormatFloat(o.Threshold, 'g', -1, 64)
	if sli, _ := FindSLI(o.SLI); sli.Unit == "seconds" && o.Threshold != 0 {
		limit = time.Duration(math.Round(o.Threshold * 1e9)).String()
	}
	text = fmt.Sprintf("%s %s %s during %s", text, o.Op, limit, o.During)
	if o.Abort {
		text += " abort"
	}
	return text
}
