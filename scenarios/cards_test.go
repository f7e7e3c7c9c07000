//go:build cgo

package scenarios

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"

	"github.com/livedrill/livedrill/reports/record"
)

// TestWatchCard reads a card that is hot, held back by heat, and without ECC: what it does not have is not offered.
func TestWatchCard(t *testing.T) {
	t.Parallel()
	m := record.NewMetrics()
	watchCard(m, "0", &mock.Device{
		GetTemperatureFunc:          func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 84, nvml.SUCCESS },
		GetTemperatureThresholdFunc: func(nvml.TemperatureThresholds) (uint32, nvml.Return) { return 96, nvml.SUCCESS },
		GetPowerUsageFunc:           func() (uint32, nvml.Return) { return 300_000, nvml.SUCCESS },
		GetEnforcedPowerLimitFunc:   func() (uint32, nvml.Return) { return 400_000, nvml.SUCCESS },
		GetEncoderUtilizationFunc:   func() (uint32, uint32, nvml.Return) { return 70, 100_000, nvml.SUCCESS },
		GetViolationStatusFunc: func(nvml.PerfPolicyType) (nvml.ViolationTime, nvml.Return) {
			return nvml.ViolationTime{ViolationTime: 2_500_000_000}, nvml.SUCCESS
		},
		GetTotalEccErrorsFunc: func(nvml.MemoryErrorType, nvml.EccCounterType) (uint64, nvml.Return) {
			return 0, nvml.ERROR_NOT_SUPPORTED
		},
	})
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := answer.Body.String()
	for _, line := range []string{`livedrill_card_temperature_ratio{card="0"} 0.875`, `livedrill_card_power_ratio{card="0"} 0.75`,
		`livedrill_card_encoder_ratio{card="0"} 0.7`, `livedrill_card_throttled_seconds_total{card="0"} 2.5`} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "livedrill_card_memory") {
		t.Errorf("a card without ECC counts its errors:\n%s", text)
	}
}
