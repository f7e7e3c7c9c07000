package documents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// browsers are the names under which Chromium is found.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// Browser is the path of Chromium on this machine; empty: there is none.
func Browser() string {
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// writePDF prints the HTML report with Chromium. The page is our own and needs no network, so Chromium gets none of its own
// sandbox, which it would refuse to root.
func writePDF(ctx context.Context, w io.Writer, d Document) error {
	browser := Browser()
	if browser == "" {
		return errors.New("pdf: there is no chromium on this machine (apt-get install chromium)")
	}
	if d.Lang == "zh" { // Chromium would print boxes, and say nothing; where fontconfig is not there, nothing is known
		if fonts, err := exec.CommandContext(ctx, "fc-list", ":lang=zh", "family").Output(); err == nil && len(bytes.TrimSpace(fonts)) == 0 {
			return errors.New("pdf: no font on this machine has Chinese characters (apt-get install fonts-noto-cjk)")
		}
	}
	dir, err := os.MkdirTemp("", "livedrill-pdf")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	page, out := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.pdf")
	f, err := os.Create(page)
	if err != nil {
		return err
	}
	if err := errors.Join(writeHTML(f, d), f.Close()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	said, err := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--virtual-time-budget=3000", "--print-to-pdf="+out, "file://"+page).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pdf: %s: %w\n%s", browser, err, said[max(0, len(said)-500):])
	}
	pdf, err := os.Open(out)
	if err != nil {
		return fmt.Errorf("pdf: %w", err)
	}
	defer pdf.Close()
	_, err = io.Copy(w, pdf)
	return err
}
