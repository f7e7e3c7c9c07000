package hosts

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Counter reads one of the kernel's network counters from a file of pairs of lines, names above values, as /proc/net/snmp and
// /proc/net/netstat are.
func Counter(file, group, name string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != group+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := 1; i < min(len(names), len(fields)); i++ {
			if names[i] == name {
				return strconv.ParseFloat(fields[i], 64)
			}
		}
	}
	return 0, fmt.Errorf("%s has no %s %s", file, group, name)
}
