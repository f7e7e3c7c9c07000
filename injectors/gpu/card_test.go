//go:build cgo

package gpu

import (
	"strings"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// nvidia is a card whose video clock follows its power limit and its application clock, as one under load does.
type nvidia struct {
	power, clock uint32
	*mock.Device
}

func newNvidia(milliwatts, mhz uint32) *nvidia {
	const mostPower, mostClock, leastClock, step, memory = 400_000, 1980, 345, 15, 2619
	n := &nvidia{power: milliwatts, clock: mhz}
	n.Device = &mock.Device{
		GetPowerManagementLimitFunc:            func() (uint32, nvml.Return) { return n.power, nvml.SUCCESS },
		GetPowerManagementLimitConstraintsFunc: func() (uint32, uint32, nvml.Return) { return 100_000, mostPower, nvml.SUCCESS },
		SetPowerManagementLimitFunc: func(v uint32) nvml.Return {
			if v < 100_000 || v > mostPower {
				return nvml.ERROR_INVALID_ARGUMENT
			}
			n.power = v
			return nvml.SUCCESS
		},
		GetMaxClockInfoFunc: func(nvml.ClockType) (uint32, nvml.Return) { return mostClock, nvml.SUCCESS },
		GetApplicationsClockFunc: func(of nvml.ClockType) (uint32, nvml.Return) {
			if of == nvml.CLOCK_MEM {
				return memory, nvml.SUCCESS
			}
			return n.clock, nvml.SUCCESS
		},
		SetApplicationsClocksFunc: func(m, v uint32) nvml.Return {
			if m != memory || v > mostClock || v < leastClock || v%step != 0 {
				return nvml.ERROR_INVALID_ARGUMENT
			}
			n.clock = v
			return nvml.SUCCESS
		},
		GetClockInfoFunc: func(nvml.ClockType) (uint32, nvml.Return) {
			return uint32(1700 * min(float64(n.power)/mostPower, float64(n.clock)/mostClock)), nvml.SUCCESS
		},
		GetCurrentClocksEventReasonsFunc: func() (reasons uint64, _ nvml.Return) {
			if n.power < 350_000 {
				reasons |= nvml.ClocksEventReasonSwPowerCap
			}
			if n.clock < mostClock { // by the setting, whoever has made it
				reasons |= nvml.ClocksEventReasonApplicationsClocksSetting
			}
			return reasons, nvml.SUCCESS
		},
	}
	return n
}

// TestCardIsPutBack throttles a card that was not at its default, from one process, and restores it from another.
func TestCardIsPutBack(t *testing.T) {
	for by, want := range map[string]struct {
		power, clock uint32
		mend         string
	}{byPower: {152_000, 1905, "--power-limit=380"}, byClocks: {380_000, 750, "--applications-clocks=2619,1905"}} {
		t.Run(by, func(t *testing.T) {
			ctx := t.Context()
			n := newNvidia(380_000, 1905) // somebody had set both
			f := &Throttle{To: 0.4, Over: unit.Duration(50 * time.Millisecond), braked: braked{By: by, brake: newCard(n, by)}}
			second := 1
			on := target.Component{Name: "transcode", Handles: target.Handles{Encoder: &target.Encoder{GPU: &second}}}
			was, err := f.Save(ctx, on)
			if err != nil {
				t.Fatal(err)
			}
			if mend := injectors.Mend(f, on, was); mend != "nvidia-smi --id=1 "+want.mend {
				t.Errorf("by hand it takes %q, want %q", mend, want.mend)
			}
			if err := f.Inject(ctx, on); err != nil {
				t.Fatal(err)
			}
			m, err := f.Effect(ctx, on)
			if err != nil || !m.Bites || n.power != want.power || n.clock != want.clock || injectors.BackEnd(f) != "nvml" {
				t.Errorf("%d mW and %d MHz by %s, effect %+v (%v)", n.power, n.clock, injectors.BackEnd(f), m, err)
			}
			if !f.Lasts(was) {
				t.Error("a card's setting outlives the range, and recover would not know")
			}
			other := &Throttle{braked: braked{By: by, brake: newCard(n, by)}}
			for range 2 {
				if err := other.Restore(ctx, on, was); err != nil || n.power != 380_000 || n.clock != 1905 {
					t.Errorf("%d mW and %d MHz after the restoration (%v)", n.power, n.clock, err)
				}
			}
			if m, err = f.Effect(ctx, on); err != nil || !m.Clean {
				t.Errorf("after the restoration: %+v (%v)", m, err)
			}
		})
	}
}

// TestLeastOfACard: a share that is below what the card can have leaves the least.
func TestLeastOfACard(t *testing.T) {
	for _, by := range []string{byPower, byClocks} {
		n := newNvidia(380_000, 1905)
		c := newCard(n, by)
		if _, err := c.save(); err != nil {
			t.Fatal(err)
		}
		if err := c.limit(t.Context(), 0.05, 1); err != nil {
			t.Errorf("%s: %v", by, err)
		}
		if by == byPower && n.power != 100_000 || by == byClocks && n.clock != 345 {
			t.Errorf("%s: %d mW, %d MHz", by, n.power, n.clock)
		}
	}
}

// TestOverheatOnACard: the modelled heat cuts a card's own setting, and gives it back.
func TestOverheatOnACard(t *testing.T) {
	t.Parallel()
	n := newNvidia(380_000, 1980)
	f := &Overheat{Load: 95, Limit: 83, To: 0.4, Over: unit.Duration(500 * time.Millisecond), braked: braked{By: byClocks, brake: newCard(n, byClocks)}}
	on := target.Component{Name: "a card", Handles: target.Handles{Encoder: &target.Encoder{GPU: new(int)}}}
	was, err := f.Save(t.Context(), on)
	if err == nil {
		err = f.Inject(t.Context(), on)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.Effect(t.Context(), on)
	if err != nil || !m.Bites || injectors.BackEnd(f) != "nvml" {
		t.Errorf("by %s: %+v (%v)", injectors.BackEnd(f), m, err)
	}
	if err := f.Restore(t.Context(), on, was); err != nil || n.clock != 1980 || n.power != 380_000 {
		t.Errorf("%d MHz and %d mW after it (%v)", n.clock, n.power, err)
	}
	if m, err = f.Effect(t.Context(), on); err != nil || !m.Clean {
		t.Errorf("after it: %+v (%v)", m, err)
	}
	n.clock = 1200 // somebody's: the card says that it is held back, heat or not
	if _, err := f.Save(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	if err := f.Inject(t.Context(), on); err == nil || n.clock != 1200 {
		t.Errorf("a card that is held back already is taken (%v), and has %d MHz", err, n.clock)
	}
}

// TestNeighbours encode on the card where there is one, and on its processors where not.
func TestNeighbours(t *testing.T) {
	card := strings.Join(neighbour(&target.Encoder{GPU: new(int)}), " ")
	none := strings.Join(neighbour(&target.Encoder{}), " ")
	if !strings.Contains(card, "h264_nvenc -gpu 0") || !strings.Contains(none, "libx264") || strings.Contains(none, "nvenc") {
		t.Errorf("with a card %q, without one %q", card, none)
	}
}

// TestCardWithoutRights is a card that refuses: the fault says so and changes nothing.
func TestCardWithoutRights(t *testing.T) {
	for _, by := range []string{byPower, byClocks} {
		n := newNvidia(400_000, 1980)
		n.SetPowerManagementLimitFunc = func(uint32) nvml.Return { return nvml.ERROR_NO_PERMISSION }
		n.SetApplicationsClocksFunc = func(uint32, uint32) nvml.Return { return nvml.ERROR_NO_PERMISSION }
		f := &Throttle{To: 0.4, braked: braked{By: by, brake: newCard(n, by)}}
		if err := f.Inject(t.Context(), target.Component{}); err == nil || n.power != 400_000 || n.clock != 1980 {
			t.Errorf("%d mW, %d MHz, error %v", n.power, n.clock, err)
		}
	}
}
