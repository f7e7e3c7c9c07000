//go:build cgo

package scenarios

import (
	"strconv"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
)

// watchCards offers what the NVIDIA cards of this machine say of themselves. Without a driver there is none.
func watchCards(m *record.Metrics) {
	if nvml.Init() != nvml.SUCCESS {
		return
	}
	n, r := nvml.DeviceGetCount()
	if r != nvml.SUCCESS {
		return
	}
	for i := range n {
		if d, r := nvml.DeviceGetHandleByIndex(i); r == nvml.SUCCESS {
			watchCard(m, strconv.Itoa(i), d)
		}
	}
}

// watchCard offers one card's readings, those that it has. The card is read at every scrape.
func watchCard(m *record.Metrics, index string, d nvml.Device) {
	labels := prometheus.Labels{"card": index}
	share := func(of, limit func() (uint32, nvml.Return)) func() (float64, nvml.Return) {
		return func() (float64, nvml.Return) {
			v, r := of()
			most, s := limit()
			if r == nvml.SUCCESS && s == nvml.SUCCESS && most > 0 {
				return float64(v) / float64(most), nvml.SUCCESS
			}
			return 0, nvml.ERROR_NOT_SUPPORTED
		}
	}
	ecc := func(of nvml.MemoryErrorType) func() (float64, nvml.Return) {
		return func() (float64, nvml.Return) {
			n, r := d.GetTotalEccErrors(of, nvml.VOLATILE_ECC)
			return float64(n), r
		}
	}
	for _, s := range []struct {
		name, help string
		add        func(name, help string, labels prometheus.Labels, read func() float64)
		read       func() (float64, nvml.Return)
	}{
		{"livedrill_card_temperature_ratio", "Temperature of the card over the one at which it slows down.", m.GaugeFunc,
			share(func() (uint32, nvml.Return) { return d.GetTemperature(nvml.TEMPERATURE_GPU) },
				func() (uint32, nvml.Return) { return d.GetTemperatureThreshold(nvml.TEMPERATURE_THRESHOLD_SLOWDOWN) })},
		{"livedrill_card_power_ratio", "Power that the card takes, over its limit.", m.GaugeFunc, share(d.GetPowerUsage, d.GetEnforcedPowerLimit)},
		{"livedrill_card_encoder_ratio", "Share of the time in which the card's encoder was at work.", m.GaugeFunc, func() (float64, nvml.Return) {
			percent, _, r := d.GetEncoderUtilization()
			return float64(percent) / 100, r
		}},
		{"livedrill_card_throttled_seconds_total", "Time in which heat held the card back.", m.CounterFunc, func() (float64, nvml.Return) {
			v, r := d.GetViolationStatus(nvml.PERF_POLICY_THERMAL)
			return float64(v.ViolationTime) / 1e9, r
		}},
		{"livedrill_card_memory_corrected_total", "Errors of the card's memory that were corrected.", m.CounterFunc, ecc(nvml.MEMORY_ERROR_TYPE_CORRECTED)},
		{"livedrill_card_memory_uncorrected_total", "Errors of the card's memory that were not.", m.CounterFunc, ecc(nvml.MEMORY_ERROR_TYPE_UNCORRECTED)},
	} {
		if _, r := s.read(); r == nvml.SUCCESS {
			s.add(s.name, s.help, labels, func() float64 { v, _ := s.read(); return v })
		}
	}
}
