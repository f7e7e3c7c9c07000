package documents

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"math"

	"github.com/livedrill/livedrill/reports"
)

// heatMap is how a latency was spread over time, as a small picture that the page stretches: it needs no script, prints, and
// stands on a light page as on a dark one.
type heatMap struct {
	Title     string
	Source    template.URL
	Low, High string
	Middle    string
	From, To  string
	Bands     []heatBand
}

type heatBand struct {
	Left, Width float64 // percent
	Label       string
}

// drawHeat colours each cell by how many events of its column fell into it, on a scale of square roots: rare and slow ones are
// what the map is for.
func drawHeat(h reports.Heat, bands []band) (heatMap, error) {
	columns, rows := len(h.Counts), len(h.Bounds)-1
	most := 0.0
	for _, column := range h.Counts {
		for _, n := range column {
			most = max(most, n)
		}
	}
	picture := image.NewNRGBA(image.Rect(0, 0, columns, rows))
	for x, column := range h.Counts {
		for y, n := range column {
			if n > 0 {
				share := math.Sqrt(n / most)
				picture.SetNRGBA(x, rows-1-y, color.NRGBA{R: uint8(30 + 200*share), G: uint8(110 - 50*share), B: uint8(200 - 160*share), A: uint8(70 + 185*share)})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return heatMap{}, err
	}
	out := heatMap{Title: h.Title, Source: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), //nolint:gosec // our own picture
		Low: tick(round2(h.Bounds[0]), "seconds"), High: tick(round2(h.Bounds[rows]), "seconds"), Middle: tick(round2(h.Bounds[rows/2]), "seconds")}
	from, to := h.Times[0], h.Times[len(h.Times)-1]
	out.From, out.To = seconds(&from), seconds(&to)
	for _, k := range bands {
		start, end := max(k.From, from), min(k.To, to)
		if end > start {
			out.Bands = append(out.Bands, heatBand{(start - from) / (to - from) * 100, (end - start) / (to - from) * 100, k.Label})
		}
	}
	return out, nil
}

// round2 keeps two digits.
func round2(v float64) float64 {
	if v <= 0 {
		return 0
	}
	scale := math.Pow(10, 1-math.Floor(math.Log10(v)))
	return math.Round(v*scale) / scale
}
