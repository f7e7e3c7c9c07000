package documents_test

import (
	"encoding/json"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/livedrill/livedrill/reports/reportstest"
)

// TestBrowser opens a report in Chromium, and says after how long it was there: its figures are drawn by the script, a phone (Chromium's
// narrowest window is 500 wide) need not be moved sideways, and in the dark it is dark.
func TestBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not on this machine (apt-get install chromium)")
	}
	s := reportstest.Usual()
	s.Steady = 600
	page := string(written(t, open(t, s.Write(t), "en"), "html"))
	const probe = `<script>addEventListener("load", () => {
		let looks = 0;
		const look = () => {
			const drawn = document.querySelectorAll(".plot canvas").length;
			if (!drawn && ++looks < 40) return setTimeout(look, 100);
			document.title = JSON.stringify({ms: performance.getEntriesByType("navigation")[0].loadEventEnd, drawn, wide: document.documentElement.scrollWidth,
				page: getComputedStyle(document.body).backgroundColor});
		};
		setTimeout(look, 300);
	})</script></body>`
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(strings.Replace(page, "</body>", probe, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	dom := func(args ...string) string {
		args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"}, args...)
		text, err := exec.CommandContext(t.Context(), chromium, append(args, "file://"+file)...).Output()
		if err != nil {
			t.Fatalf("chromium %v: %v", args, err)
		}
		return string(text)
	}
	title := regexp.MustCompile(`<title>(\{.*?\})</title>`)
	for name, args := range map[string][]string{"desk": {"--window-size=1360,2000"}, "phone": {"--window-size=400,9000"}, "dark": {"--window-size=1360,2000", "--blink-settings=preferredColorScheme=0"}} {
		var seen struct {
			MS    float64
			Drawn int
			Wide  int
			Page  string
		}
		found := title.FindStringSubmatch(dom(args...))
		if found == nil {
			t.Fatalf("%s: the page did not come to its end", name)
		}
		if err := json.Unmarshal([]byte(html.UnescapeString(found[1])), &seen); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: there after %.0f ms, %d figures drawn", name, seen.MS, seen.Drawn)
		if seen.Drawn == 0 {
			t.Errorf("%s: no figure was drawn", name)
		}
		if name == "phone" && seen.Wide > 500 {
			t.Errorf("on a phone the page is %d wide", seen.Wide)
		}
		if dark := seen.Page != "rgb(255, 255, 255)"; dark != (name == "dark") {
			t.Errorf("%s: the page is %s", name, seen.Page)
		}
	}
}
