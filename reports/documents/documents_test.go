package documents_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"html"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/documents"
	"github.com/livedrill/livedrill/reports/reportstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// story is a run in which something of everything happened.
func story() reportstest.Story {
	s := reportstest.Usual()
	s.Change = func(f *reports.Facts) {
		o, err := reports.ParseObjective("push_success_ratio >= 99%")
		if err != nil {
			panic(err)
		}
		f.Objectives = append(f.Objectives, o)
		f.Run.TimeScale = 0.5
		f.Faults[0].Faded = "0.0% of 2000 packets are lost"
		f.Targets.Judgement, f.Targets.Cause, f.Targets.Handling = 300, 1800, 3600
		f.Remarks = []reports.Remark{{At: 45, By: "ana", What: reports.SaidAcknowledge}, {At: 60, By: "ana", What: reports.SaidCause, Fault: "network.loss", On: "edge-north"},
			{At: 62, By: "bo", What: reports.SaidAction, Text: "摘除 edge-north"}}
		f.Alerts = reports.AlertRules{Expect: []string{"Errors", "Late"}, Silent: []string{"Never"}, Files: map[string]string{"r.yaml": `groups:
  - name: g
    interval: 1s
    rules:
      - {alert: Errors, expr: 'sum(rate(livedrill_api_requests_total{outcome="error"}[5s])) > 5', labels: {severity: P1}}
      - {alert: Late, expr: 'vector(1)', for: 1h}
      - {alert: Never, expr: 'vector(0) > 1'}
`}}
	}
	return s
}

func open(t *testing.T, dir, lang string) documents.Document {
	t.Helper()
	d, err := documents.Open(t.Context(), dir, lang)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func written(t *testing.T, d documents.Document, format string) []byte {
	t.Helper()
	f, err := documents.FindFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(t.Context(), &b, d); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.Bytes()
}

// TestGolden holds every text format, in both languages where it has them.
func TestGolden(t *testing.T) {
	dir := story().Write(t)
	for _, format := range []string{"text", "markdown", "junit", "openmetrics", "openslo", "postmortem", "grafana"} {
		for _, lang := range documents.Langs {
			got := written(t, open(t, dir, lang), format)
			path := filepath.Join("testdata", format+"."+lang)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is no longer what it was: go test ./reports/documents -update writes it anew; got\n%s", path, got)
			}
		}
	}
}

// TestMachinesReadThem parses what is meant for machines.
func TestMachinesReadThem(t *testing.T) {
	d := open(t, story().Write(t), "en")
	var suite documents.JUnit
	if err := xml.Unmarshal(written(t, d, "junit"), &suite); err != nil || suite.Tests != len(suite.Cases) || suite.Failures == 0 {
		t.Errorf("junit: %v, %+v", err, suite)
	}
	for _, format := range []string{"json", "grafana"} {
		var v map[string]any
		if err := json.Unmarshal(written(t, d, format), &v); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	samples := 0
	metrics := textparse.NewOpenMetricsParser(written(t, d, "openmetrics"), labels.NewSymbolTable())
	for {
		what, err := metrics.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("openmetrics: %v", err)
		}
		if what == textparse.EntrySeries {
			samples++
		}
	}
	if samples < 20 {
		t.Errorf("openmetrics: %d samples", samples)
	}
	reading := regexp.MustCompile(`^"livedrill-known" "livedrill\.(curve|sli|objective|exit)\[(\\"[^"\\]+\\",?)*\]" 17955\d{5} [-+0-9.e]+$`)
	lines := strings.Split(strings.TrimSuffix(string(written(t, d, "zabbix")), "\n"), "\n")
	for _, line := range lines {
		if !reading.MatchString(line) {
			t.Errorf("zabbix: %q is no reading", line)
		}
	}
	if last := lines[len(lines)-1]; len(lines) < 500 || !strings.HasSuffix(last, " 3") {
		t.Errorf("zabbix: %d readings, the last is %q", len(lines), last)
	}
}

// TestSameNumbers: a report in Chinese has the numbers of the one in English, all of them and no others.
func TestSameNumbers(t *testing.T) {
	dir := story().Write(t)
	en, zh := open(t, dir, "en"), open(t, dir, "zh")
	number := regexp.MustCompile(`\d+(\.\d+)?`)
	tags := regexp.MustCompile(`(?s)<script.*?</script>|<style.*?</style>|<[^>]*>`)
	for _, format := range []string{"text", "markdown", "postmortem", "html"} {
		count := map[string]int{}
		for sign, d := range map[int]documents.Document{1: en, -1: zh} {
			text := string(written(t, d, format))
			if format == "html" { // definitions have names with numbers in them, in one language and not in the other
				text, _, _ = strings.Cut(html.UnescapeString(tags.ReplaceAllString(text, " ")), documents.Translate(d, "Definitions"))
			}
			for _, n := range number.FindAllString(strings.ReplaceAll(text, "SHA-256", ""), -1) {
				count[n] += sign
			}
		}
		for n, left := range count {
			if left != 0 {
				t.Errorf("%s: %s stands %+d times more in English than in Chinese", format, n, left)
			}
		}
	}
}

// TestPage holds the page to its promises: one file, no network, no slip of a verb, and small.
func TestPage(t *testing.T) {
	page := string(written(t, open(t, story().Write(t), "en"), "html"))
	if len(page) > 2<<20 {
		t.Errorf("it has %d bytes", len(page))
	}
	for _, bad := range []string{"%!", "<nil>", "0xc0", `src="http`, `href="http`, "@import", "ZgotmplZ", "NaN %"} {
		if strings.Contains(page, bad) {
			t.Errorf("it has %q in it: …%s…", bad, around(page, bad))
		}
	}
	for _, part := range []string{"What to do next", "time scale 0.5", "T1 first bad window", "room-0", "99.90 %", "exclude each other", "data:image/png", "uPlot"} {
		if !strings.Contains(page, part) {
			t.Errorf("it lacks %q", part)
		}
	}
	// The platform's picture shows what was hit, and nothing else; a heat map is hottest where most events are.
	hit := regexp.MustCompile(`<rect class="node hit"[^>]*/><text class="nodename"[^>]*>([^<]*)<`).FindAllStringSubmatch(page, -1)
	if len(hit) != 1 || hit[0][1] != "edge-north" {
		t.Errorf("in the picture %v is hit", hit)
	}
	map64 := regexp.MustCompile(`src="data:image/png;base64,([^"]*)"`).FindStringSubmatch(page)
	text, err := base64.StdEncoding.DecodeString(html.UnescapeString(map64[1]))
	if err != nil {
		t.Fatal(err)
	}
	heat, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	hottest := 0 // row of the API's latency, from above, in the steady phase: its 10 ms are near the bottom of what goes up to 1.2 s
	column := heat.Bounds().Dx() / 4
	for y := range heat.Bounds().Dy() {
		if _, _, _, a := heat.At(column, y).RGBA(); a > 0 {
			if _, _, _, most := heat.At(column, hottest).RGBA(); a > most {
				hottest = y
			}
		}
	}
	if rows := heat.Bounds().Dy(); hottest < rows/2 {
		t.Errorf("the hottest row is %d of %d", hottest, rows)
	}
	// Names that a scenario brings cannot become part of the page.
	hostile := story()
	change := hostile.Change
	hostile.Change = func(f *reports.Facts) {
		change(f)
		f.Run.Scenario, f.Run.Summary, f.Faults[0].Error, f.Faults[0].On = `</script><script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `<b>"'`, `<svg onload=alert(1)>`
		f.Faults[0].Kind = `</script><script>alert(2)</script>`
	}
	page = string(written(t, open(t, hostile.Write(t), "en"), "html"))
	for _, bad := range []string{"<script>alert", "<img src=x", "<svg onload"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q came through: …%s…", bad, around(page, bad))
		}
	}
}

func around(text, part string) string {
	at := strings.Index(text, part)
	return text[max(0, at-80):min(len(text), at+80)]
}

// TestNothingIsLeftInEnglish reads the Chinese page as a person does, and looks for English sentences in it.
func TestNothingIsLeftInEnglish(t *testing.T) {
	page := string(written(t, open(t, story().Write(t), "zh"), "html"))
	page = regexp.MustCompile(`(?s)<(script|style|code)\b.*?</(script|style|code)>`).ReplaceAllString(page, " ")
	page = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, "\n")
	known := regexp.MustCompile(`^(run that never happened|livedrill (target config|gate|recover)|\(uPlot\))`) // the scenario's own words, and commands
	english := regexp.MustCompile(`[A-Za-z][a-z']+( [a-z][a-z']+){1,}`)
	for _, text := range english.FindAllString(html.UnescapeString(page), -1) {
		if !known.MatchString(text) {
			t.Errorf("%q is English", text)
		}
	}
	if !strings.Contains(page, "卡顿率") || !strings.Contains(page, "首个越限") {
		t.Error("the field's own words are missing")
	}
}

// TestEveryWordIsTranslated holds the catalogue to all that the judge can name.
func TestEveryWordIsTranslated(t *testing.T) {
	d := documents.Document{Lang: "zh"}
	for _, s := range reports.SLIs {
		for _, text := range []string{s.Name, s.Definition} {
			if documents.Translate(d, text) == text {
				t.Errorf("%q has no Chinese", text)
			}
		}
	}
	for _, c := range reports.CoreMetrics {
		if documents.Translate(d, c.Name) == c.Name {
			t.Errorf("%q has no Chinese", c.Name)
		}
	}
	for _, c := range reports.Curves {
		if documents.Translate(d, c.Title) == c.Title {
			t.Errorf("%q has no Chinese", c.Title)
		}
	}
}

// TestPDF prints the report where there is a Chromium.
func TestPDF(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("chromium is not on this machine (apt-get install chromium)")
	}
	if pdf := written(t, open(t, story().Write(t), "en"), "pdf"); !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		t.Errorf("%d bytes that are no PDF", len(pdf))
	}
	if _, err := exec.LookPath("fc-list"); err != nil {
		return
	}
	none := filepath.Join(t.TempDir(), "fonts.conf")
	if err := os.WriteFile(none, []byte("<fontconfig/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FONTCONFIG_FILE", none)
	f, err := documents.FindFormat("pdf")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(t.Context(), io.Discard, open(t, story().Write(t), "zh")); err == nil || !strings.Contains(err.Error(), "fonts-noto-cjk") {
		t.Errorf("Chinese without a font for it: %v", err)
	}
}

// TestFinish writes a whole run directory and judges it again: the manifest holds.
func TestFinish(t *testing.T) {
	dir := story().Write(t)
	first, err := documents.Finish(t.Context(), dir, "en")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"result.json", "report.html", "report.md", "junit.xml", "MANIFEST.sha256"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Error(err)
		}
	}
	again := open(t, dir, "zh")
	if again.Damaged || again.Verdict != first.Verdict || len(again.Evidence) < 5 {
		t.Errorf("judged again it is %s, damaged %v, %d files of evidence: %v", again.Verdict, again.Damaged, len(again.Evidence), again.Reasons)
	}
	if c := documents.Compare(first.Sheet, again.Sheet); len(c.Rows) == 0 || *c.Rows[0].Before != *c.Rows[0].After {
		t.Errorf("a run beside itself: %+v", c)
	}
}

// TestEffect: what stands for a fault in tables is a number of its own, by its name where the fault does not say it.
func TestEffect(t *testing.T) {
	type numbers = map[string]float64
	for _, c := range []struct {
		asked, is       numbers
		wantAsk, wantIs string
	}{
		{numbers{"loss_ratio": 0.3, "bursts": 1}, numbers{"loss_ratio": 0.29, "bursts": 1, "n": 2000}, "30.0 %", "29.0 %"},
		{numbers{"loss_ratio": 0.3}, nil, "30.0 %", "-"},
		{numbers{"failed_reads_ratio": 0, "failed_writes_ratio": 0.2}, numbers{"failed_reads_ratio": 0, "failed_writes_ratio": 0.21, "n": 400}, "failed writes 20.0 %", "21.0 %"},
		{numbers{"access_seconds": 0.1}, numbers{"access_seconds": 0.1004, "longest_seconds": 0.2}, "access 100 ms", "100 ms"},
		{numbers{"up_ratio": 0}, numbers{"up_ratio": 0.05, "n": 20}, "up 0.0 %", "5.0 %"},
		{numbers{"spare_bytes": 0}, numbers{"n": 1, "refused_writes": 1}, "spare bytes 0", "refused writes 1"},
		{nil, nil, "-", "-"},
	} {
		if asked, is := documents.Effect(reports.Fault{Asked: c.asked, Measured: c.is}); asked != c.wantAsk || is != c.wantIs {
			t.Errorf("asked %v, is %v: %q and %q, want %q and %q", c.asked, c.is, asked, is, c.wantAsk, c.wantIs)
		}
	}
}
