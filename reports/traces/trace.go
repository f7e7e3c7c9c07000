package traces

import (
	"cmp"
	"slices"
	"time"
)

// Trace is what is known of one request, or of one picture on its way to one viewer: its spans, each below its parent, in the order of time.
type Trace struct {
	Spans []Span
	Depth []int // of each span
}

// mostParts bounds the spans of a request, and those of a picture beside its viewers'; one has far fewer.
const mostParts = 32

// Group puts spans together that belong together. Spans whose first one is missing are left out: one of another process was not kept.
func Group(spans []Span) []Trace {
	byTrace := map[string][]Span{}
	var order []string
	for _, s := range spans {
		if byTrace[s.Trace] == nil {
			order = append(order, s.Trace)
		}
		if s.Name == Watch || len(byTrace[s.Trace]) < mostParts {
			byTrace[s.Trace] = append(byTrace[s.Trace], s)
		}
	}
	var out []Trace
	for _, id := range order {
		all := byTrace[id]
		first := slices.IndexFunc(all, func(s Span) bool { return s.Parent == "" })
		if first < 0 {
			continue
		}
		if all[first].Name == Picture {
			out = append(out, pictures(all, all[first])...)
		} else {
			out = append(out, tree(all, all[first]))
		}
	}
	return out
}

// pictures makes a trace for each viewer who saw a picture: from where it left the transcoder it is on its way to that one.
func pictures(all []Span, first Span) (out []Trace) {
	var common []Span
	for _, s := range all {
		if s.Name != Watch && s.ID != first.ID {
			common = append(common, s)
		}
	}
	for _, w := range all {
		if w.Name != Watch || w.Parent != first.ID || w.To.Before(first.To) {
			continue
		}
		whole, rest := first, w
		whole.To, rest.From = w.To, first.To
		out = append(out, tree(append(slices.Clone(common), whole, rest), whole))
	}
	return out
}

// tree lays spans out below their parents.
func tree(all []Span, first Span) (t Trace) {
	children := map[string][]Span{}
	for _, s := range all {
		children[s.Parent] = append(children[s.Parent], s)
	}
	seen := map[string]bool{}
	var add func(Span, int)
	add = func(s Span, depth int) {
		if seen[s.ID] { // two spans that are each other's parents
			return
		}
		seen[s.ID] = true
		t.Spans, t.Depth = append(t.Spans, s), append(t.Depth, depth)
		below := children[s.ID]
		slices.SortStableFunc(below, func(a, b Span) int { return a.From.Compare(b.From) })
		for _, c := range below {
			add(c, depth+1)
		}
	}
	add(first, 0)
	return t
}

// First is the span that all others are below.
func (t Trace) First() Span { return t.Spans[0] }

// Took is the time from the first span's beginning to its end.
func (t Trace) Took() time.Duration { return t.First().To.Sub(t.First().From) }

// IsPicture tells pictures from requests.
func (t Trace) IsPicture() bool { return t.First().Name == Picture }

// Hop is the component that a span was in: a client's is where it went.
func (s Span) Hop() string { return cmp.Or(s.With[Peer], s.Service) }

// Broken finds the deepest span that failed, the last one of those: the hop that it names is where things went wrong, the ones above only
// tell. Where a library gives no reason, theirs is taken.
func (t Trace) Broken() (Span, bool) {
	at := -1
	for i, s := range t.Spans {
		if s.Failed && (at < 0 || t.Depth[i] >= t.Depth[at]) {
			at = i
		}
	}
	if at < 0 {
		return Span{}, false
	}
	out := t.Spans[at]
	for i, depth := at, t.Depth[at]; i >= 0 && out.Why == ""; i-- {
		if t.Depth[i] < depth {
			depth = t.Depth[i]
			out.Why = t.Spans[i].Why
		}
	}
	return out, true
}

// Part is the time that a trace was in one hop itself, and in none below it.
type Part struct {
	Name string
	Hop  string
	Took time.Duration
}

// Parts are the times of all spans without those below them.
func (t Trace) Parts() []Part {
	below := map[string]time.Duration{}
	for _, s := range t.Spans {
		below[s.Parent] += s.To.Sub(s.From)
	}
	out := make([]Part, len(t.Spans))
	for i, s := range t.Spans {
		out[i] = Part{s.Name, s.Hop(), max(0, s.To.Sub(s.From)-below[s.ID])}
	}
	return out
}

// Usual is the time that 95 % of each part were below in a quiet time.
type Usual map[Part]time.Duration

// usualLeast is how many of a part there must be to say what is usual.
const usualLeast = 10

// UsualOf reads it from the traces of that time. Parts are told apart by their names and hops; of one that was seldom there nothing is known.
func UsualOf(quiet []Trace) Usual {
	all := map[Part][]time.Duration{}
	for _, t := range quiet {
		for _, p := range t.Parts() {
			key := Part{Name: p.Name, Hop: p.Hop}
			all[key] = append(all[key], p.Took)
		}
	}
	out := Usual{}
	for key, took := range all {
		if len(took) >= usualLeast {
			slices.Sort(took)
			out[key] = took[len(took)*95/100]
		}
	}
	return out
}

// HeldUp finds the part of a trace that took most above what is usual, and by how much; nothing if none did, as far as is known.
func (t Trace) HeldUp(usual Usual) (most Part, above time.Duration) {
	for _, p := range t.Parts() {
		if was, known := usual[Part{Name: p.Name, Hop: p.Hop}]; known && p.Took-was > above {
			most, above = p, p.Took-was
		}
	}
	return most, above
}
