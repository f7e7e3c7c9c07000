//go:build cgo

package gpu

import (
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// fakeCard is a card whose video clock follows its power limit, as one under load does.
func fakeCard(limit *uint32) *card {
	const most = 400_000
	return &card{device: &mock.Device{
		GetPowerManagementLimitFunc: func() (uint32, nvml.Return) { return *limit, nvml.SUCCESS },
		GetPowerManagementLimitConstraintsFunc: func() (uint32, uint32, nvml.Return) {
			return 100_000, most, nvml.SUCCESS
		},
		SetPowerManagementLimitFunc: func(v uint32) nvml.Return {
			if v < 100_000 || v > most {
				return nvml.ERROR_INVALID_ARGUMENT
			}
			*limit = v
			return nvml.SUCCESS
		},
		GetClockInfoFunc: func(nvml.ClockType) (uint32, nvml.Return) { return uint32(1700 * float64(*limit) / most), nvml.SUCCESS },
		GetCurrentClocksEventReasonsFunc: func() (uint64, nvml.Return) {
			if *limit < 350_000 {
				return nvml.ClocksEventReasonSwPowerCap, nvml.SUCCESS
			}
			return 0, nvml.SUCCESS
		},
	}}
}

// TestCardIsPutBack throttles a card that was not at its default, from one process, and restores it from another.
func TestCardIsPutBack(t *testing.T) {
	ctx := t.Context()
	limit := uint32(380_000) // somebody had set it
	f := &Throttle{To: 0.4, Over: unit.Duration(50 * time.Millisecond), braked: braked{brake: fakeCard(&limit)}}
	second := 1
	on := target.Component{Name: "transcode", Handles: target.Handles{Encoder: &target.Encoder{GPU: &second}}}
	was, err := f.Save(ctx, on)
	if err != nil {
		t.Fatal(err)
	}
	if by, want := injectors.Mend(f, on, was), "nvidia-smi --id=1 --power-limit=380"; by != want {
		t.Errorf("by hand it takes %q, want %q", by, want)
	}
	if err := f.Inject(ctx, on); err != nil {
		t.Fatal(err)
	}
	m, err := f.Effect(ctx, on)
	if err != nil || !m.Bites || limit != 160_000 || injectors.BackEnd(f) != "nvml" {
		t.Errorf("limit %d mW by %s, effect %+v (%v)", limit, injectors.BackEnd(f), m, err)
	}
	if !f.Lasts(was) {
		t.Error("a card's limit outlives the range, and recover would not know")
	}
	other := &Throttle{braked: braked{brake: fakeCard(&limit)}}
	for range 2 {
		if err := other.Restore(ctx, on, was); err != nil || limit != 380_000 {
			t.Errorf("limit %d mW after the restoration (%v)", limit, err)
		}
	}
	if m, err = f.Effect(ctx, on); err != nil || !m.Clean {
		t.Errorf("after the restoration: %+v (%v)", m, err)
	}
}

// TestCardWithoutRights is a card that refuses: the fault says so and changes nothing.
func TestCardWithoutRights(t *testing.T) {
	limit := uint32(400_000)
	c := fakeCard(&limit)
	c.device.(*mock.Device).SetPowerManagementLimitFunc = func(uint32) nvml.Return { return nvml.ERROR_NO_PERMISSION }
	f := &Throttle{To: 0.4, braked: braked{brake: c}}
	if err := f.Inject(t.Context(), target.Component{}); err == nil || limit != 400_000 {
		t.Errorf("limit %d mW, error %v", limit, err)
	}
}
