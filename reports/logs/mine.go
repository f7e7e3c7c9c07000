package logs

import (
	"slices"
	"strings"
	"unicode"

	"github.com/livedrill/livedrill/reports/stats"
)

// Anomaly is a kind of line that came more often in a window than it used to.
type Anomaly struct {
	File, Template, Example string
	From, To                float64
	Count                   int
	Usual                   float64
	P                       float64
}

// wild stands for the words that differ between lines of one kind.
const wild = "<*>"

// alike is the share of words that two lines of one kind have in common (Drain, He et al. 2017).
const alike = 0.6

// miner groups lines into kinds: same file, same number of words, same first word, most words the same.
type miner struct {
	kinds map[string][]*kind
	order []*kind
}

type kind struct {
	file    string
	words   []string
	example string
	times   []float64
}

func (m *miner) add(l Line) {
	words := strings.Fields(l.Text)
	for i, w := range words {
		if varies(w) {
			words[i] = wild
		}
	}
	if len(words) == 0 {
		return
	}
	key := l.File + "\x00" + words[0] + "\x00" + string(rune(len(words)))
	var best *kind
	share := alike
	for _, k := range m.kinds[key] {
		same := 0
		for i := range words {
			if words[i] == k.words[i] {
				same++
			}
		}
		if s := float64(same) / float64(len(words)); s >= share {
			best, share = k, s
		}
	}
	if best == nil {
		best = &kind{file: l.File, words: words, example: l.Text}
		m.kinds[key] = append(m.kinds[key], best)
		m.order = append(m.order, best)
	}
	for i := range words {
		if words[i] != best.words[i] {
			best.words[i] = wild
		}
	}
	best.times = append(best.times, l.T)
}

// varies tells whether a word is a value rather than a part of the message: it has a digit in it.
func varies(word string) bool { return strings.ContainsFunc(word, unicode.IsDigit) }

const (
	windowLength = 5.0  // seconds
	rare         = 1e-3 // after the correction for all kinds and windows
	fewest       = 3    // lines in a window
)

// Anomalies gives the kinds of lines that came more often after to than between from and to, the most surprising first. The
// windows that follow each other with too many of a kind are one anomaly. The rate before is taken half a line higher than it
// was: never having seen a line does not make it impossible.
func Anomalies(lines []Line, from, to, end float64) []Anomaly {
	m := &miner{kinds: map[string][]*kind{}}
	for _, l := range lines {
		m.add(l)
	}
	windows := int((end - to) / windowLength)
	if windows < 1 || to <= from {
		return nil
	}
	var out []Anomaly
	for _, k := range m.order {
		before := 0.5
		counts := make([]int, windows)
		for _, t := range k.times {
			switch w := int((t - to) / windowLength); {
			case t >= from && t < to:
				before++
			case t >= to && w < windows:
				counts[w]++
			}
		}
		mean := before / (to - from) * windowLength
		open := false
		for w, n := range counts {
			p := stats.Poisson(float64(n), mean) * float64(len(m.order)*windows)
			if n < fewest || p > rare {
				open = false
				continue
			}
			start := to + float64(w)*windowLength
			if !open {
				out = append(out, Anomaly{File: k.file, Template: strings.Join(k.words, " "), Example: k.example, From: start, P: 1})
				open = true
			}
			a := &out[len(out)-1]
			a.To, a.Count, a.Usual, a.P = start+windowLength, a.Count+n, a.Usual+mean, min(a.P, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Anomaly) int {
		switch {
		case a.P < b.P:
			return -1
		case a.P > b.P:
			return 1
		}
		return 0
	})
	return out
}
