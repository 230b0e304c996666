package corefile

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"7d": 7 * day, "0d": 0, "1d12h": 36 * time.Hour, "2d1m1s": 2*day + time.Minute + time.Second, "36500d": 36500 * day, "876000h": 36500 * day,
		"168h": 7 * day, "90s": 90 * time.Second, "0": 0,
	} {
		if got, err := parseDuration(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "7", "-1d", "+1d", "1.5d", "1d-1h", "1d+1h", "1d1d", "1h1d", "36501d", "36500d1s", "876001h", "65536d", "99999999999999999999d", "7 d", "7D", "1dh"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
