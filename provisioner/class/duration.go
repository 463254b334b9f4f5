package class

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// errDuration says which durations are allowed.
var errDuration = errors.New(`allowed are durations such as "30d" (30 days), "1d12h" or "90m"`)

const (
	day     = 24 * time.Hour
	maxDays = uint64(math.MaxInt64 / day)
)

// ParseDuration parses a duration as users write it: whole days, and behind them or alone what
// time.ParseDuration takes, such as "30d", "1d12h" or "90m". The error says what is allowed,
// without s.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		return parseHours(s)
	}
	n, err := strconv.ParseUint(days, 10, 64)
	if err != nil || n > maxDays {
		return 0, errDuration
	}
	d := time.Duration(n) * day
	if rest == "" {
		return d, nil
	}
	more, err := parseHours(rest)
	if err != nil || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") || d > math.MaxInt64-more {
		return 0, errDuration
	}
	return d + more, nil
}

func parseHours(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errDuration
	}
	return d, nil
}
