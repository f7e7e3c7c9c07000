package unit

import (
	"encoding"
	"testing"
)

func TestQuantities(t *testing.T) {
	for _, c := range []struct {
		into encoding.TextUnmarshaler
		text string
		want string // the printed form, or "" for an error
	}{
		{new(Ratio), "20%", "20%"}, {new(Ratio), "0.2", "20%"}, {new(Ratio), "150%", ""}, {new(Ratio), "-1%", ""},
		{new(Ratio), "NaN", ""}, {new(Ratio), "", ""},
		{new(Rate), "500/s", "500/s"}, {new(Rate), "30/m", "0.5/s"}, {new(Rate), "2k/s", "2000/s"}, {new(Rate), "5/h", ""},
		{new(Rate), "-5/s", ""}, {new(Rate), "Inf", ""},
		{new(Bitrate), "800k", "800k"}, {new(Bitrate), "2.5Mbit/s", "2.5M"}, {new(Bitrate), "0", ""}, {new(Bitrate), "k", ""},
		{new(Duration), "1.5s", "1.5s"}, {new(Duration), "-3ms", ""}, {new(Duration), "3", ""},
	} {
		err := c.into.UnmarshalText([]byte(c.text))
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%T %q: accepted as %v", c.into, c.text, c.into)
		case c.want != "" && err != nil:
			t.Errorf("%T %q: %v", c.into, c.text, err)
		case c.want != "":
			text, err := c.into.(encoding.TextMarshaler).MarshalText()
			if err != nil || string(text) != c.want {
				t.Errorf("%T %q printed as %q (%v), want %q", c.into, c.text, text, err, c.want)
			}
		}
	}
}
