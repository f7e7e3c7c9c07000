//go:build cgo

package gpu

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/livedrill/livedrill/target"
)

// card slows a real NVIDIA card down by its power limit, which needs root. What was there before is read first and put
// back, not the default.
type card struct {
	device nvml.Device
	capped atomic.Uint64 // readings in which the power limit held the card back
}

// openCard reaches the card by its number.
func openCard(index int) (brake, error) {
	if r := nvml.Init(); r != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: %s", nvml.ErrorString(r))
	}
	d, r := nvml.DeviceGetHandleByIndex(index)
	if r != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: card %d: %s", index, nvml.ErrorString(r))
	}
	return &card{device: d}, nil
}

func (*card) name() string   { return "nvml" }
func (*card) unit() string   { return "video_clock_mhz" }
func (*card) slack() float64 { return 1.1 }

func failed(what string, r nvml.Return) error {
	if r == nvml.SUCCESS {
		return nil
	}
	return fmt.Errorf("NVML: %s: %s", what, nvml.ErrorString(r))
}

func (c *card) save() (saved, error) {
	limit, r := c.device.GetPowerManagementLimit()
	return saved{Card: true, Power: limit}, failed("power limit", r)
}

// limit sets the power limit to the share of the most that the card takes, and not below the least.
func (c *card) limit(_ context.Context, share, _ float64) error {
	least, most, r := c.device.GetPowerManagementLimitConstraints()
	if err := failed("bounds of the power limit", r); err != nil {
		return err
	}
	limit := uint32(float64(most) * share)
	return failed("set the power limit", c.device.SetPowerManagementLimit(max(limit, least)))
}

func (*card) settle(context.Context, float64, float64) error { return nil }

func (c *card) release(_ context.Context, was saved) error {
	if err := failed("set the power limit", c.device.SetPowerManagementLimit(was.Power)); err != nil {
		return err
	}
	now, err := c.save()
	if err == nil && now != was {
		err = fmt.Errorf("the power limit is %d mW, was %d mW", now.Power, was.Power)
	}
	return err
}

// speed is the mean clock of the video engine, which encodes; it has a clock of its own, beside that of the processors.
func (c *card) speed(ctx context.Context, over time.Duration) (float64, error) {
	sum := 0.0
	const readings = 10
	for range readings {
		mhz, r := c.device.GetClockInfo(nvml.CLOCK_VIDEO)
		if err := failed("video clock", r); err != nil {
			return 0, err
		}
		sum += float64(mhz)
		reasons, r := c.device.GetCurrentClocksEventReasons()
		if err := failed("reasons of the clocks", r); err != nil {
			return 0, err
		}
		if reasons&nvml.ClocksEventReasonSwPowerCap != 0 {
			c.capped.Add(1)
		}
		if !target.Wait(ctx, over/readings) {
			return 0, ctx.Err()
		}
	}
	return sum / readings, nil
}

// held is the readings of speed in which the power limit held the card back.
func (c *card) held(context.Context) (float64, error) { return float64(c.capped.Load()), nil }
