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

// card slows a real NVIDIA card down by one of its settings, which needs root. What was there before is read first and put
// back, not the default.
type card struct {
	device nvml.Device
	lever  lever
	capped atomic.Uint64 // readings in which that setting held the card back
}

// openCard reaches the card by its number.
func openCard(index int, by string) (brake, error) {
	if r := nvml.Init(); r != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: %s", nvml.ErrorString(r))
	}
	d, r := nvml.DeviceGetHandleByIndex(index)
	if r != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: card %d: %s", index, nvml.ErrorString(r))
	}
	return newCard(d, by), nil
}

func newCard(d nvml.Device, by string) *card {
	if by == byClocks {
		return &card{device: d, lever: &applicationClocks{device: d}}
	}
	return &card{device: d, lever: &power{device: d}}
}

func (*card) name() string   { return "nvml" }
func (*card) unit() string   { return "video_clock_mhz" }
func (*card) slack() float64 { return 1.1 }

func (c *card) save() (saved, error) { return c.lever.save() }

func (c *card) limit(_ context.Context, share, _ float64) error { return c.lever.limit(share) }

func (*card) settle(context.Context, float64, float64) error { return nil }

func (c *card) release(_ context.Context, was saved) error {
	if err := c.lever.put(was); err != nil {
		return err
	}
	now, err := c.save()
	if err == nil && now != was {
		err = fmt.Errorf("the card's setting is %+v, was %+v", now, was)
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
		if reasons&c.lever.reason() != 0 {
			c.capped.Add(1)
		}
		if !target.Wait(ctx, over/readings) {
			return 0, ctx.Err()
		}
	}
	return sum / readings, nil
}

// held is the readings of speed in which the setting held the card back.
func (c *card) held(context.Context) (float64, error) { return float64(c.capped.Load()), nil }
