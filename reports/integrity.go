package reports

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports/record"
)

// ManifestFile holds the sums of everything else in a run directory.
const ManifestFile = "MANIFEST.sha256"

// Evidence is one file of a run with its sum.
type Evidence struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// unreadable stands in the place of the sum of a file that may not be read.
const unreadable = "may not be read"

// Sums gives the sum of every file of a run but the manifest, in order of their names.
func Sums(dir string) ([]Evidence, error) {
	var out []Evidence
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) && path != dir {
			return fs.SkipDir
		}
		if err != nil || !e.Type().IsRegular() || e.Name() == ManifestFile {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrPermission) {
			out = append(out, Evidence{filepath.ToSlash(rel), unreadable})
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		out = append(out, Evidence{filepath.ToSlash(rel), hex.EncodeToString(h.Sum(nil))})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	slices.SortFunc(out, func(a, b Evidence) int { return strings.Compare(a.File, b.File) })
	return out, nil
}

// WriteManifest sums every file of the run, so that a later change shows.
func WriteManifest(dir string) error {
	sums, err := Sums(dir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, e := range sums {
		if e.SHA256 == unreadable {
			return fmt.Errorf("manifest: %s may not be read", e.File)
		}
		fmt.Fprintf(&b, "%s  %s\n", e.SHA256, e.File)
	}
	return os.WriteFile(filepath.Join(dir, ManifestFile), b.Bytes(), 0o644)
}

// partOfRecord tells what a verdict stands on. Documents are made from it again, and logs and traces stand beside it: a change of theirs
// changes no verdict, and is noted.
func partOfRecord(file string) bool {
	return file == FactsFile || file == "events.jsonl" || file == record.AuditFile || file == "scenario.yaml" || strings.HasPrefix(file, "tsdb/") || strings.HasPrefix(file, "alerts/")
}

// seal is what a run directory came to when it was held against its manifest.
type seal struct {
	have     []Evidence // as the manifest has it; nil: there is none
	problems []string   // files of the record that are missing, or were changed or added after the run
	notes    []string   // documents, logs and traces that were, and what is foreign
	foreign  []string   // files beside the time series that are not the run's, as a Prometheus leaves them that has looked at them
}

// mostProblems is how many problems of a manifest are told one by one.
const mostProblems = 20

// checkManifest holds a run directory against its manifest. A run that has none yet has nothing to be held against.
func checkManifest(dir string) (s seal, err error) {
	text, err := ReadFile(filepath.Join(dir, ManifestFile))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("manifest: %w", err)
	}
	there, err := Sums(dir)
	if err != nil {
		return s, err
	}
	now := map[string]string{}
	for _, e := range there {
		now[e.File] = e.SHA256
	}
	s.have = []Evidence{}
	for line := range strings.Lines(string(text)) {
		sum, file, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "  ")
		if ok && slices.Contains(s.have, Evidence{file, sum}) {
			continue // it stands there twice
		}
		switch is, found := now[file]; {
		case !ok || len(sum) != 64:
			s.problems = append(s.problems, fmt.Sprintf("%s: the line %.80q is no sum", ManifestFile, strings.TrimRight(line, "\r\n")))
			continue
		case !partOfRecord(file) && !found:
			s.notes = append(s.notes, file+" is missing")
		case !partOfRecord(file) && is != sum:
			s.notes = append(s.notes, file+" was changed after the run")
		case !partOfRecord(file):
		case !found:
			s.problems = append(s.problems, file+" is missing from the record")
		case is == unreadable:
			s.problems = append(s.problems, file+" may not be read")
		case is != sum:
			s.problems = append(s.problems, file+" was changed after the run")
		}
		delete(now, file)
		s.have = append(s.have, Evidence{file, sum})
	}
	for _, e := range there {
		_, added := now[e.File]
		switch series, within := strings.CutPrefix(e.File, "tsdb/"); {
		case !added || !partOfRecord(e.File):
		case within:
			s.foreign = append(s.foreign, series)
		default:
			s.problems = append(s.problems, e.File+" was added to the record after the run")
		}
	}
	if n := len(s.problems); n > mostProblems {
		s.problems = append(s.problems[:mostProblems], fmt.Sprintf("%d more of this kind", n-mostProblems))
	}
	if len(s.foreign) > 0 {
		s.notes = append(s.notes, "tsdb holds files that are not of the run, and were not read: "+strings.Join(s.foreign, ", "))
	}
	return s, nil
}

// ReadDocument reads a document of a run, and returns an error unless it is the one that its manifest was made of.
func ReadDocument(dir, name string) ([]byte, error) {
	manifest, err := ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil, err
	}
	text, err := ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(append([]byte("\n"), manifest...), fmt.Appendf(nil, "\n%x  %s\n", sha256.Sum256(text), name)) {
		return nil, fmt.Errorf("%s was changed after the run", name)
	}
	return text, nil
}
