package corefile

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// maxDays is the longest duration, in days.
const maxDays = 36500

var (
	errDays = errors.New("not a number of days")
	errLong = errors.New("a duration of more than 100 years")
)

// parseDuration is [time.ParseDuration], which knows no days, and days in front of that: 7d, 1d12h.
func parseDuration(text string) (time.Duration, error) {
	d, err := parseDays(text)
	if err == nil && d > maxDays*24*time.Hour {
		return 0, errLong
	}
	return d, err
}

func parseDays(text string) (time.Duration, error) {
	number, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	days, err := strconv.ParseUint(number, 10, 16)
	if err != nil || days > maxDays || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, errDays
	}
	d := time.Duration(days) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	return d + more, err
}
