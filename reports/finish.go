package reports

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// ManifestFile holds the sums of everything else in a run directory.
const ManifestFile = "MANIFEST.sha256"

// Finish judges the run in dir and writes every document that belongs there.
func Finish(ctx context.Context, dir, lang string) (Document, error) {
	d, err := Open(ctx, dir, lang)
	if err != nil {
		return d, err
	}
	for file, name := range map[string]string{"result.json": "json", "report.html": "html", "report.md": "markdown", "junit.xml": "junit"} {
		format, err := FindFormat(name)
		if err != nil {
			return d, err
		}
		if err := writeFile(filepath.Join(dir, file), func(w io.Writer) error { return format.Write(w, d) }); err != nil {
			return d, fmt.Errorf("write %s: %w", file, err)
		}
	}
	return d, writeManifest(dir)
}

// Open judges the run in dir and gives all that a report may show. It writes nothing.
func Open(ctx context.Context, dir, lang string) (Document, error) {
	facts, err := ReadFacts(dir)
	if err != nil {
		return Document{}, err
	}
	if text, err := os.ReadFile(filepath.Join(dir, "scenario.yaml")); err == nil {
		sum := sha256.Sum256(text)
		facts.Run.ScenarioSHA256 = hex.EncodeToString(sum[:])
	}
	d := Document{Lang: lang, Notes: facts.Notes, Problems: facts.Problems}
	d.Result, d.Charts, err = judgeFacts(ctx, dir, facts)
	return d, err
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// writeManifest sums every file of the run, so that a later change shows.
func writeManifest(dir string) error {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == ManifestFile {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		lines = append(lines, hex.EncodeToString(h.Sum(nil))+"  "+rel+"\n")
		return err
	})
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	sort.Strings(lines)
	return os.WriteFile(filepath.Join(dir, ManifestFile), []byte(strings.Join(lines, "")), 0o644)
}
