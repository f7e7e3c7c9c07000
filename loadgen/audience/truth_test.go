package audience

import (
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/stamp"
	"github.com/livedrill/livedrill/target/unit"
)

// TestInterleaved plays a stream whose sound is 3 s behind its picture, as a muxer sends it: what has the same time stamp goes together.
func TestInterleaved(t *testing.T) {
	m := loadgen.NewMeter(loadgen.Spec{Name: "test", Region: "north", Slice: loadgen.Whole, Seed: 1, Start: time.Now(), For: unit.Duration(time.Second)})
	usual := Usual()
	s := &Session{House: &House{Settings: &usual, M: m, N: newNumbers(m, "flv")}}
	sent := time.Now()
	for n := range 50 {
		at := time.Duration(n) * 40 * time.Millisecond
		s.Picture(at, at, stamp.AppendNAL(nil, sent.Add(at)), sent)
		s.Sound(at, stamp.AppendElement(nil, sent.Add(at-3*time.Second)))
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if h := f.Metric[0].GetHistogram(); f.GetName() == "livedrill_av_skew_seconds" && (h.GetSampleCount() != 50 || h.GetSampleSum() < 149.9 || h.GetSampleSum() > 150.1) {
			t.Errorf("%d times a skew of %v s together, want 50 of 3", h.GetSampleCount(), h.GetSampleSum())
		}
	}
}

// TestTruth plays a stream whose sound is 120 ms behind its picture, with a gap and a step back, and a publisher who comes anew.
func TestTruth(t *testing.T) {
	m := loadgen.NewMeter(loadgen.Spec{Name: "test", Region: "north", Slice: loadgen.Whole, Seed: 1, Start: time.Now(), For: unit.Duration(time.Second)})
	usual := Usual()
	s := &Session{House: &House{Settings: &usual, M: m, N: newNumbers(m, "flv")}}
	sent := time.Now()
	const late = 120 * time.Millisecond
	pair := func(at time.Duration, sent time.Time) {
		s.Picture(at, at, stamp.AppendNAL(nil, sent), sent.Add(time.Second))
		s.Sound(at+20*time.Millisecond+late, append(stamp.AppendElement(nil, sent.Add(20*time.Millisecond)), 0x21))
	}
	for n := range 25 {
		at := time.Duration(n) * 40 * time.Millisecond
		pair(at, sent.Add(at))
	}
	at := 24*40*time.Millisecond + 501*time.Millisecond
	pair(at, sent.Add(at))                     // a gap
	pair(at-40*time.Millisecond, sent.Add(at)) // back: its sound is 40 ms off beside
	s.Connected()
	pair(time.Hour, sent.Add(at)) // another connection begins anywhere
	s.Picture(0, 0, stamp.AppendNAL(nil, sent.Add(at)), sent)
	s.Sound(time.Hour, stamp.AppendElement(nil, sent.Add(at))) // a publisher that came anew is no skew
	s.Sound(time.Hour, []byte{0x21, 0x10})                     // and what is not stamped tells nothing

	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "livedrill_player_pts_gaps_total":
			if got := f.Metric[0].Counter.GetValue(); got != 3 { // the gap, the step back, and the hour back
				t.Errorf("%v gaps, want 3", got)
			}
		case "livedrill_av_skew_seconds":
			h := f.Metric[0].Histogram
			if n, mean := h.GetSampleCount(), h.GetSampleSum()/float64(h.GetSampleCount()); n != 28 || mean < 0.1199 || mean > 0.1215 {
				t.Errorf("%d times a skew of %v s, want 28 of 0.12", n, mean)
			}
		}
	}
}
