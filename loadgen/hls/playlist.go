package hls

import (
	"bufio"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// variant is one rendition of a master playlist.
type variant struct {
	uri       string
	bandwidth int
}

// item is one segment of a media playlist.
type item struct {
	number   uint64
	uri      string
	duration time.Duration

	discontinuity bool // its time stamps do not follow those of the segment before (4.3.2.3)
}

var errMalformed = errors.New("malformed playlist")

// playlistLimit bounds what is read from a server as a playlist.
const playlistLimit = 1 << 20

// parseMaster reads a master playlist (RFC 8216, 4.3.4).
func parseMaster(text string) ([]variant, error) {
	var out []variant
	var next *variant
	err := lines(text, func(line string) error {
		if attributes, ok := strings.CutPrefix(line, "#EXT-X-STREAM-INF:"); ok {
			next = &variant{}
			for _, a := range strings.Split(attributes, ",") {
				if v, ok := strings.CutPrefix(a, "BANDWIDTH="); ok {
					next.bandwidth, _ = strconv.Atoi(v) // an odd one sorts as the lowest
				}
			}
		} else if !strings.HasPrefix(line, "#") && next != nil {
			next.uri = line
			out = append(out, *next)
			next = nil
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%w: no rendition in it", errMalformed)
	}
	return out, err
}

// parseMedia reads a media playlist (RFC 8216, 4.3.3).
func parseMedia(text string) ([]item, error) {
	var out []item
	var number uint64
	var duration time.Duration
	anew := false
	err := lines(text, func(line string) (err error) {
		if v, ok := strings.CutPrefix(line, "#EXT-X-MEDIA-SEQUENCE:"); ok {
			number, err = strconv.ParseUint(v, 10, 64)
		} else if v, ok := strings.CutPrefix(line, "#EXTINF:"); ok {
			v, _, _ = strings.Cut(v, ",")
			var s float64
			if s, err = strconv.ParseFloat(v, 64); err == nil && !(s > 0 && s < 3600) {
				err = fmt.Errorf("a segment of %v s", s)
			}
			duration = time.Duration(s * float64(time.Second))
		} else if line == "#EXT-X-DISCONTINUITY" {
			anew = true
		} else if !strings.HasPrefix(line, "#") && duration > 0 {
			out = append(out, item{number, line, duration, anew})
			number++
			duration, anew = 0, false
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", errMalformed, err)
		}
		return err
	})
	return out, err
}

// lines calls do for each line that is not empty, behind the one that every playlist begins with.
func lines(text string, do func(string) error) error {
	in := bufio.NewScanner(strings.NewReader(text))
	first := true
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if first && line != "#EXTM3U" {
			return fmt.Errorf("%w: it does not begin with #EXTM3U", errMalformed)
		}
		first = false
		if line == "" {
			continue
		}
		if err := do(line); err != nil {
			return err
		}
	}
	if first {
		return fmt.Errorf("%w: it is empty", errMalformed)
	}
	return in.Err()
}

// resolve gives the address of uri, as it stands in the playlist at base.
func resolve(base, uri string) (string, error) {
	b, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	ref, err := b.Parse(uri)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errMalformed, err)
	}
	if ref.Host != b.Host || ref.Scheme != b.Scheme {
		return "", fmt.Errorf("%w: it points to another server", errMalformed) // load never leaves the platform
	}
	return ref.String(), nil
}
