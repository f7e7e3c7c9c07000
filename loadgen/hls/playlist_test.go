package hls

import (
	"testing"
	"time"
)

func TestPlaylists(t *testing.T) {
	variants, err := parseMaster("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS=\"avc1,mp4a\"\nmain/index.m3u8\n" +
		"#EXT-X-STREAM-INF:BANDWIDTH=200000\nlow/index.m3u8\n")
	if err != nil || len(variants) != 2 || variants[1] != (variant{"low/index.m3u8", 200000}) {
		t.Errorf("%+v (%v)", variants, err)
	}
	items, err := parseMedia("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1.000,\n7.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:0.960,\n8.ts\n")
	if err != nil || len(items) != 2 || items[1] != (item{8, "8.ts", 960 * time.Millisecond, true}) {
		t.Errorf("%+v (%v)", items, err)
	}
	for _, bad := range []string{"", "<html>", "#EXTM3U\n#EXTINF:NaN,\n1.ts\n", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\n"} {
		if _, err := parseMedia(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := resolve("http://10.0.0.1/live/x/index.m3u8", "http://example.org/1.ts"); err == nil {
		t.Error("a playlist could send the load to another server")
	}
}

func FuzzPlaylists(f *testing.F) {
	f.Add("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1.000,\n7.ts\n")
	f.Add("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseMaster(text)
		items, _ := parseMedia(text)
		for _, i := range items {
			if i.duration <= 0 {
				t.Errorf("segment of %v", i.duration)
			}
			_, _ = resolve("http://10.0.0.1/a", i.uri)
		}
	})
}
