// Package logs reads the logs of a run's processes on the run's own clock, finds the kinds of lines in them, and says which
// kinds came more often than they used to.
package logs

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Line is one line of a log, in seconds from the start of the run.
type Line struct {
	T    float64
	File string
	Text string // without its time
}

// longest is how much of a line is read; a longer one is no message for people.
const longest = 64 << 10

// Read reads every log in a directory. A line without a time has that of the line before it; lines before the first time
// have none and are left out. The servers write local time: that of started.
func Read(dir string, started time.Time) ([]Line, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	var out []Line
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue // a verdict does not stand on it
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines, err := readOne(f, filepath.Base(path), started)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	return out, nil
}

// readOne reads one log. Of a line that is too long its beginning counts.
func readOne(f *os.File, name string, started time.Time) (out []Line, err error) {
	at, known, rest := 0.0, false, false
	for in := bufio.NewReaderSize(f, longest); ; {
		raw, more, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if beginning := !rest; beginning {
			when, text, ok := cut(string(raw), started.Location())
			if ok {
				at, known = when.Sub(started).Seconds(), true
			}
			if known && strings.TrimSpace(text) != "" {
				out = append(out, Line{at, name, text})
			}
		}
		rest = more
	}
}

// cut takes the time off a line, in the forms of log/slog, Redis, MariaDB and nginx.
func cut(line string, local *time.Location) (time.Time, string, bool) {
	if rest, ok := strings.CutPrefix(line, "time="); ok {
		stamp, text, _ := strings.Cut(rest, " ")
		t, err := time.Parse(time.RFC3339Nano, stamp)
		return t, text, err == nil
	}
	if len(line) > 19 {
		for _, form := range []string{"2006/01/02 15:04:05", "2006-01-02 15:04:05", "2006-01-02  3:04:05"} {
			if t, err := time.ParseInLocation(form, line[:19], local); err == nil {
				return t, strings.TrimSpace(line[19:]), true
			}
		}
	}
	// 130:M 24 Nov 2026 09:59:53.115 * text
	if role, rest, ok := strings.Cut(line, " "); ok && strings.Contains(role, ":") && len(rest) > 24 {
		if t, err := time.ParseInLocation("02 Jan 2006 15:04:05.000", rest[:24], local); err == nil {
			return t, strings.TrimSpace(rest[24:]), true
		}
	}
	return time.Time{}, line, false
}
