package gpu

import (
	"context"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/target"
)

// paper is a brake on encoders that need so many cores.
type paper struct {
	limits saved
	needs  float64
	counts float64
}

func (*paper) name() string                                   { return "paper" }
func (*paper) unit() string                                   { return "cores" }
func (*paper) slack() float64                                 { return 1.1 }
func (p *paper) save() (saved, error)                         { return p.limits, nil }
func (*paper) settle(context.Context, float64, float64) error { return nil }
func (p *paper) release(_ context.Context, was saved) error   { p.limits = was; return nil }
func (p *paper) held(context.Context) (float64, error)        { return p.counts, nil }
func (p *paper) limit(_ context.Context, share, before float64) error {
	p.limits = saved{Limits: resource.Limits{Quota: int64(1e6 * share * before)}}
	return nil
}

func (p *paper) speed(context.Context, time.Duration) (float64, error) {
	if most := float64(p.limits.Quota) / 1e6; most > 0 && p.needs > most {
		p.counts++
		return most, nil
	}
	return p.needs, nil
}

// TestThrottleOfThoseWhoNeedLess: encoders that were held back, and then have less to do, are throttled as long as the limit is there.
func TestThrottleOfThoseWhoNeedLess(t *testing.T) {
	p := &paper{needs: 1}
	f := &Throttle{To: 0.4, braked: braked{brake: p}}
	on := target.Component{Name: "transcode"}
	was, err := f.Save(t.Context(), on)
	if err == nil {
		err = f.Inject(t.Context(), on)
	}
	if err != nil {
		t.Fatal(err)
	}
	bites := func() bool {
		m, err := f.Effect(t.Context(), on)
		if err != nil {
			t.Fatal(err)
		}
		return m.Bites
	}
	p.needs = 0.3
	if bites() {
		t.Error("nobody was ever held back, and it bites")
	}
	p.needs = 1
	if !bites() {
		t.Error("it holds the encoders back, and does not bite")
	}
	if p.needs = 0.3; !bites() {
		t.Error("the limit is there, and it does not bite any more")
	}
	if p.limits = (saved{}); bites() {
		t.Error("somebody has taken the limit away, and it bites")
	}
	f.shown = false
	if p.limits = f.set; bites() {
		t.Error("nobody was held back, nothing can be read, and it bites")
	}
	if err := f.Restore(t.Context(), on, was); err != nil || p.limits != (saved{}) {
		t.Errorf("%+v (%v)", p.limits, err)
	}
}
