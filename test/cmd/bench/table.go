package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// row is one line of the result.
type row struct {
	what, ours, peer, ratio, goal string
	reached                       bool
}

// table collects rows and prints them in Markdown.
type table struct{ rows []row }

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// write prints the table, unless it has no rows.
func (t *table) write(w io.Writer, peer string) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "| what | this server | %s | ratio | goal | reached |\n", peer)
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | --- | --- |")
	for _, r := range t.rows {
		reached := "no"
		switch {
		case r.goal == "":
			reached = ""
		case r.reached:
			reached = "yes"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.ours, r.peer, r.ratio, r.goal, reached)
	}
}

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// number writes three significant digits and separates thousands.
func number(v float64) string {
	if v < 100 {
		return strings.TrimSuffix(fmt.Sprintf("%.3g", v), ".0")
	}
	scale := math.Pow(10, max(0, math.Floor(math.Log10(v))-2))
	digits := fmt.Sprintf("%.0f", math.Round(v/scale)*scale)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func times(v float64) string { return fmt.Sprintf("%.2f", v) }
