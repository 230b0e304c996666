package admin

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
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

// wrap breaks text at spaces, so that it fits on a terminal of 80 columns. Each line begins with the indent. Empty lines stay.
func wrap(text, indent string) string {
	const width = 79
	var lines []string
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			lines = append(lines, "")
		}
		line := indent
		for _, word := range strings.Fields(paragraph) {
			switch {
			case line == indent:
				line += word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
				lines = append(lines, line)
				line = indent + word
			default:
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// agree is a number with words that agree with it.
func agree(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
