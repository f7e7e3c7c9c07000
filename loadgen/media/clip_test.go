package media

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// TestClipIsMadeOnce has several ask for the same film at once, finds one file, and has a damaged one made anew.
func TestClipIsMadeOnce(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not on this machine")
	}
	cache, f := t.TempDir(), Format{Width: 64, Height: 64, FPS: 10, Bitrate: 50_000}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if c, err := Load(t.Context(), cache, f); err != nil || c.Length < length/2 {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
	all.Wait()
	files, err := filepath.Glob(filepath.Join(cache, "*.flv*"))
	if err != nil || len(files) != 2 { // the film and its lock
		t.Fatalf("there are %q (%v)", files, err)
	}
	if err := os.Truncate(filepath.Join(cache, "clip-"+f.sum()+".flv"), 1000); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(t.Context(), cache, f); err != nil || c.Length < length/2 {
		t.Errorf("a damaged film: %+v, %v", c, err)
	}
}
