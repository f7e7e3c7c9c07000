package transcode

import (
	"fmt"
	"strconv"
	"strings"
)

// rung is one rendition of the ladder.
type rung struct {
	Name   string
	Height int // 0 keeps the source's
	Rate   string
}

// ladder is what every stream is encoded to.
var ladder = []rung{{"main", 0, "700k"}, {"low", 180, "200k"}}

// Args are ffmpeg's arguments for one stream: FLV on standard input, one FLV for each rendition on descriptors 3, 4, ...
// The time stamps stay as they are, so that an encoder that is started again goes on where the last one stopped.
func Args(encoder string) []string {
	args := []string{"-hide_banner", "-nostats", "-loglevel", "warning", "-fflags", "nobuffer", "-probesize", "65536",
		"-analyzeduration", "500000", "-copyts", "-f", "flv", "-i", "pipe:0"}
	for i, r := range ladder {
		args = append(args, "-map", "0:v:0", "-map", "0:a:0?")
		size := "scale=trunc(iw/2)*2:trunc(ih/2)*2" // what encoders need; the same size costs nothing
		if r.Height > 0 {
			size = fmt.Sprintf("scale=-2:'trunc(min(%d,ih)/2)*2'", r.Height)
		}
		args = append(args, "-vf", size)
		args = append(args, "-c:v", encoder)
		if encoder == "libx264" {
			args = append(args, "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1", "-pix_fmt", "yuv420p")
		} else {
			args = append(args, "-preset", "p1", "-tune", "ull", "-delay", "0", "-forced-idr", "1")
		}
		args = append(args, "-b:v", r.Rate, "-maxrate", r.Rate, "-bufsize", r.Rate, "-bf", "0", "-g", "250",
			"-force_key_frames", "expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+1))",
			"-udu_sei", "1", "-vsync", "passthrough", "-c:a", "copy", "-flush_packets", "1",
			"-max_interleave_delta", "300000", // µs: sound that stops does not hold the picture back for longer
			"-flvflags", "no_duration_filesize", "-f", "flv", fmt.Sprintf("pipe:%d", 3+i))
	}
	return args
}

// Conf is the command line as users may read and run it.
func Conf(encoder string) string {
	if encoder == "" {
		encoder = "libx264"
	}
	var b strings.Builder
	b.WriteString("# One per stream; FLV comes in on standard input, each rendition goes out on a descriptor.\nffmpeg")
	for _, a := range Args(encoder) {
		if strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "-2") {
			b.WriteString(" \\\n ")
		}
		if strings.ContainsAny(a, "(*?$ ") {
			a = strconv.Quote(a)
		}
		b.WriteString(" " + a)
	}
	b.WriteString("\n")
	return b.String()
}
