//go:build cgo

package gpu

import (
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// lever is one setting of a card that makes it slow; all of them need root.
type lever interface {
	// save reads the setting.
	save() (saved, error)
	// limit leaves a share of the most that the card takes, and not less than the least.
	limit(share float64) error
	// put sets it to what was saved.
	put(was saved) error
	// reason is the bit by which the card says that the setting holds it back (NVML, nvmlClocksEventReasons).
	reason() uint64
}

func failed(what string, r nvml.Return) error {
	if r == nvml.SUCCESS {
		return nil
	}
	return fmt.Errorf("NVML: %s: %s", what, nvml.ErrorString(r))
}

// power is the power limit.
type power struct{ device nvml.Device }

func (p power) save() (saved, error) {
	limit, r := p.device.GetPowerManagementLimit()
	return saved{Card: true, Power: limit}, failed("power limit", r)
}

func (p power) limit(share float64) error {
	least, most, r := p.device.GetPowerManagementLimitConstraints()
	if err := failed("bounds of the power limit", r); err != nil {
		return err
	}
	return p.set(max(uint32(float64(most)*share), least))
}

func (p power) set(milliwatts uint32) error {
	return failed("set the power limit", p.device.SetPowerManagementLimit(milliwatts))
}

func (p power) put(was saved) error { return p.set(was.Power) }
func (power) reason() uint64        { return nvml.ClocksEventReasonSwPowerCap }

// applicationClocks are those that a card runs at under load. Locked clocks would hold it more tightly, but cannot be read: what somebody had set
// could not be put back.
type applicationClocks struct{ device nvml.Device }

func (a applicationClocks) save() (saved, error) {
	memory, r := a.device.GetApplicationsClock(nvml.CLOCK_MEM)
	graphics, s := a.device.GetApplicationsClock(nvml.CLOCK_GRAPHICS)
	return saved{Card: true, Clocks: clocks{memory, graphics}}, errors.Join(failed("application clock of the memory", r), failed("application clock", s))
}

// clockStep is the distance between two clocks that a card can have, at most.
const clockStep = 15

// limit takes the next lower clock that the card can have: it refuses all others.
func (a applicationClocks) limit(share float64) error {
	now, err := a.save()
	if err != nil {
		return err
	}
	most, r := a.device.GetMaxClockInfo(nvml.CLOCK_GRAPHICS)
	if err := failed("highest clock", r); err != nil {
		return err
	}
	asked := uint32(float64(most) * share)
	for mhz := asked; mhz > 0 && mhz > asked-clockStep; mhz-- {
		r = a.device.SetApplicationsClocks(now.Clocks.Memory, mhz)
		if r != nvml.ERROR_INVALID_ARGUMENT {
			break
		}
	}
	return failed(fmt.Sprintf("set the application clock to %d MHz", asked), r)
}

func (a applicationClocks) put(was saved) error {
	return failed("set the application clocks", a.device.SetApplicationsClocks(was.Clocks.Memory, was.Clocks.Graphics))
}

func (applicationClocks) reason() uint64 { return nvml.ClocksEventReasonApplicationsClocksSetting }
