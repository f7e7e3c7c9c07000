package audience

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/livedrill/livedrill/reports/record"
)

// TestPhases: each phase counts from the end of the one before, a second try within the phase that the first one did not end, and together
// they are the whole time.
func TestPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := record.NewMetrics()
		into := map[string]*record.Histogram{}
		for _, p := range phases {
			into[p] = m.Histogram("phase_"+p[:4], "", nil)
		}
		var w way
		began := time.Now()
		for _, step := range []struct {
			after int // ms
			phase string
		}{{10, Dispatched}, {20, Connected}, {500, Dispatched}, {30, Connected}, {40, Answered}} {
			time.Sleep(time.Duration(step.after) * time.Millisecond)
			w.Reached(step.phase)
		}
		time.Sleep(50 * time.Millisecond)
		w.arrive(began, time.Now(), into)
		w.Reached(Connected) // of a later connection: no part of a start
		for phase, want := range map[string]float64{Dispatched: 0.010, Connected: 0.020, Answered: 0.570, shown: 0.050} {
			var got dto.Metric
			if err := into[phase].Write(&got); err != nil {
				t.Fatal(err)
			}
			if n, sum := got.GetHistogram().GetSampleCount(), got.GetHistogram().GetSampleSum(); n != 1 || math.Abs(sum-want) > 1e-3 {
				t.Errorf("%s: %d times, %g s, want %g s", phase, n, sum, want)
			}
		}
		if n := into[Agreed].Count(); n != 0 {
			t.Error("a phase that there was none of is counted")
		}
	})
}
