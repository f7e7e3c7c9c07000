package hosts

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Counter reads one of the kernel's network counters from a file of pairs of lines, names above values, as /proc/net/snmp and
// /proc/net/netstat are.
func Counter(file, group, name string) (float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return CounterOf(f, group, name)
}

// CounterOf reads it from such a file that is open.
func CounterOf(file io.Reader, group, name string) (float64, error) {
	var names []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
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
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("there is no counter %s %s", group, name)
}
