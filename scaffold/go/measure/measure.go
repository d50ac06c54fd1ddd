// Package measure has the parser and the rate. It is independent of the agent, so that Go can test it on this machine.
package measure

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse returns the numbers in a text, by the keys of their lines.
func Parse(text string, keys ...string) (map[string]uint64, error) {
	numbers := make(map[string]uint64)
	for line := range strings.Lines(text) {
		found, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		for _, key := range keys {
			if found != key {
				continue
			}
			number, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s is not a number: %q", key, value)
			}
			numbers[key] = number
		}
	}
	return numbers, nil
}

// Rate is that of a counter from one tick to the next.
type Rate struct {
	count, ns uint64
	hasLast   bool
}

// PerSecond returns the rate since the last call; none at the first one, and after the counter was reset.
func (rate *Rate) PerSecond(count, monotonicNs uint64) (float64, bool) {
	last := *rate
	*rate = Rate{count: count, ns: monotonicNs, hasLast: true}
	if !last.hasLast || count < last.count || monotonicNs <= last.ns {
		return 0, false
	}
	return float64(count-last.count) * 1e9 / float64(monotonicNs-last.ns), true
}
