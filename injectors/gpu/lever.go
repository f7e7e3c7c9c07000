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
	// limit leaves a share of what was saved first, and not less than the least that the card takes.
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
type power struct {
	device nvml.Device
	before uint32 // in milliwatts; 0: it was not read yet
}

func (p *power) save() (saved, error) {
	limit, r := p.device.GetPowerManagementLimit()
	if p.before == 0 {
		p.before = limit
	}
	return saved{Card: true, Power: limit}, failed("power limit", r)
}

func (p *power) limit(share float64) error {
	least, _, r := p.device.GetPowerManagementLimitConstraints()
	if err := failed("bounds of the power limit", r); err != nil {
		return err
	}
	return p.put(saved{Power: max(uint32(float64(p.before)*share), least)})
}

func (p *power) put(was saved) error {
	return failed("set the power limit", p.device.SetPowerManagementLimit(was.Power))
}

func (*power) reason() uint64 { return nvml.ClocksEventReasonSwPowerCap }

// applicationClocks are those that a card runs at under load. Locked clocks would hold it more tightly, but cannot be read: what somebody had set
// could not be put back.
type applicationClocks struct {
	device nvml.Device
	before clocks
}

func (a *applicationClocks) save() (saved, error) {
	memory, r := a.device.GetApplicationsClock(nvml.CLOCK_MEM)
	graphics, s := a.device.GetApplicationsClock(nvml.CLOCK_GRAPHICS)
	now := clocks{memory, graphics}
	if a.before == (clocks{}) {
		a.before = now
	}
	return saved{Card: true, Clocks: now}, errors.Join(failed("application clock of the memory", r), failed("application clock", s))
}

// limit takes the next clock below the share that the card can have, or the lowest there is: it refuses all others.
func (a *applicationClocks) limit(share float64) error {
	const step = 15 // MHz between two clocks that a card can have, at most
	asked := uint32(float64(a.before.Graphics) * share)
	try := func(mhz uint32) nvml.Return { return a.device.SetApplicationsClocks(a.before.Memory, mhz) }
	r := nvml.ERROR_INVALID_ARGUMENT
	for mhz := asked; r == nvml.ERROR_INVALID_ARGUMENT && mhz > 0 && mhz+step > asked; mhz-- {
		r = try(mhz)
	}
	for mhz := asked + 1; r == nvml.ERROR_INVALID_ARGUMENT && mhz < a.before.Graphics; mhz++ {
		r = try(mhz)
	}
	return failed(fmt.Sprintf("set the application clock to %d MHz", asked), r)
}

func (a *applicationClocks) put(was saved) error {
	return failed("set the application clocks", a.device.SetApplicationsClocks(was.Clocks.Memory, was.Clocks.Graphics))
}

func (*applicationClocks) reason() uint64 { return nvml.ClocksEventReasonApplicationsClocksSetting }
