package admin

import (
	"fmt"
	"time"
)

// count is a number with what is counted, in the singular or the plural.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// interval is a number of seconds as the Corefile has it.
func interval(seconds uint32) string {
	for _, unit := range []struct {
		seconds uint32
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if seconds >= unit.seconds && seconds%unit.seconds == 0 {
			return fmt.Sprintf("%d%s", seconds/unit.seconds, unit.name)
		}
	}
	return fmt.Sprintf("%ds", seconds)
}

// hour writes the hour in which a record was last refreshed, in UTC, which is all that is known; "static" for none.
func hour(t *time.Time) string {
	if t == nil {
		return "static"
	}
	return t.UTC().Format("2006-01-02 15h")
}

// agree is a number with words that agree with it.
func agree(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
