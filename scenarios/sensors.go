package scenarios

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/host"

	"github.com/livedrill/livedrill/reports/record"
)

// watchSensors offers the machine's own signs of strain and wear. Those that it does not have are not offered, and the report says that
// they were not measured.
func watchSensors(m *record.Metrics) {
	for _, resource := range []string{"cpu", "memory", "io"} {
		file := "/proc/pressure/" + resource
		if _, ok := pressure(file); ok {
			m.CounterFunc("livedrill_machine_pressure_seconds_total", "Time in which some task waited for the resource.", prometheus.Labels{"resource": resource},
				func() float64 { s, _ := pressure(file); return s })
		}
	}
	m.CounterFunc("livedrill_machine_stolen_seconds_total", "Processor time that other virtual machines had.", nil, func() float64 {
		times, err := cpu.Times(false)
		if err != nil || len(times) == 0 {
			return 0
		}
		return times[0].Steal
	})
	if _, ok := hottest(); ok {
		m.GaugeFunc("livedrill_machine_temperature_ratio", "Temperature of the hottest sensor over its own critical one.", nil, func() float64 { t, _ := hottest(); return t })
	}
	for _, c := range []struct{ name, help, files string }{
		{"livedrill_machine_throttled_total", "Times a processor core was slowed down by heat.", "/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"},
		{"livedrill_machine_memory_corrected_total", "Errors of memory that were corrected.", "/sys/devices/system/edac/mc/mc*/ce_count"},
		{"livedrill_machine_memory_uncorrected_total", "Errors of memory that were not.", "/sys/devices/system/edac/mc/mc*/ue_count"},
	} {
		if _, ok := counts(c.files); ok {
			m.CounterFunc(c.name, c.help, nil, func() float64 { n, _ := counts(c.files); return n })
		}
	}
}

// pressure reads how long some task waited, in seconds (the kernel's accounting/psi: "some ... total=MICROSECONDS").
func pressure(file string) (seconds float64, ok bool) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, total, found := strings.Cut(lines.Text(), "total="); found && strings.HasPrefix(lines.Text(), "some ") {
			us, err := strconv.ParseFloat(total, 64)
			return us / 1e6, err == nil
		}
	}
	return 0, false
}

// hottest is the greatest share of its own critical temperature that a sensor has reached.
func hottest() (ratio float64, ok bool) {
	sensors, _ := host.SensorsTemperatures() // those that could be read are there all the same
	for _, s := range sensors {
		if s.Critical > 0 && s.Temperature > 0 {
			ratio, ok = max(ratio, s.Temperature/s.Critical), true
		}
	}
	return ratio, ok
}

// counts adds the numbers in files up.
func counts(pattern string) (sum float64, ok bool) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return 0, false // the pattern is a constant
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if n, parse := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil && parse == nil {
			sum, ok = sum+n, true
		}
	}
	return sum, ok
}
