package stamp

import (
	"testing"
	"time"
)

func TestStampSurvives(t *testing.T) {
	for _, at := range []time.Time{time.UnixMicro(0), time.Now().Truncate(time.Microsecond), time.UnixMicro(1<<62 + 3)} {
		nal := AppendNAL([]byte{0, 0, 0, 1}, at)
		if len(nal) != 4+NALSize {
			t.Errorf("%d bytes, want %d", len(nal)-4, NALSize)
		}
		for i := 4; i+2 < len(nal); i++ {
			if nal[i] == 0 && nal[i+1] == 0 && nal[i+2] <= 3 {
				t.Errorf("needs emulation prevention at byte %d", i)
			}
		}
		got, ok := Find(append([]byte("before"), nal...))
		if !ok || !got.Equal(at) {
			t.Errorf("read %v, %v; want %v", got, ok, at)
		}
	}
	if _, ok := Find([]byte(uuid + "zz")); ok {
		t.Error("found a stamp in a torn one")
	}
}

func FuzzFind(f *testing.F) {
	f.Add(AppendNAL(nil, time.UnixMicro(5)))
	f.Fuzz(func(t *testing.T, data []byte) { Find(data) })
}
