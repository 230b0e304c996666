package page

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// functions are those of the templates.
func (h *Handler) functions() template.FuncMap {
	return template.FuncMap{
		"frame":   func(title string, f frame) titled { return titled{title, f} },
		"ago":     h.ago,
		"until":   h.until,
		"hour":    h.hour,
		"utc":     func(t time.Time) string { return t.Format("2006-01-02 15:04:05") + " UTC" },
		"rfc3339": func(t time.Time) string { return t.Format(time.RFC3339) },
		"host":    host,
		"count":   count,
		"number":  number,
		"percent": percent,
		"rows":    rows,
		"chart":   newChart,
		"nodot":   func(name string) string { return strings.TrimSuffix(name, ".") },
		"short":   short,
		"list":    func(v ...any) []any { return v },
	}
}

// titled is what the head of a page is made from.
type titled struct {
	Title string
	Frame frame
}

// ago says how long ago something was.
func (h *Handler) ago(t time.Time) string {
	d := h.now().Sub(t)
	if d < 5*time.Second {
		return "just now"
	}
	switch t = t.UTC(); {
	case d < time.Hour:
		return duration(d) + " ago"
	case d < exactDays:
		return duration(d) + " ago, " + t.Format("15:04") + " UTC"
	}
	return duration(d) + " ago, " + t.Format("2006-01-02 15:04") + " UTC"
}

// exactDays is from when a time needs its date.
const exactDays = 12 * time.Hour

// hour says how long ago a record was last refreshed. Only the hour of that is known.
func (h *Handler) hour(t time.Time) string {
	if d := h.now().Sub(t); d >= time.Hour {
		return duration(d) + " ago"
	}
	return "this hour"
}

// until says in how much time something will be.
func (h *Handler) until(t time.Time) string {
	d := t.Sub(h.now())
	if d < time.Second {
		return "now"
	}
	return "in " + duration(d)
}

// duration says how long a time is, in its greatest unit.
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// count is a number with what is counted, in the singular or the plural.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// number writes a number with a thin space between thousands.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// percent is how much of its limit something takes, at most 100.
func percent(u view.Usage) int {
	if u.Limit <= 0 {
		return 0
	}
	return min(100, int(int64(u.Used)*100/int64(u.Limit)))
}

// short leaves the SID of an account out of an owner.
func short(owner string) string {
	name, _, _ := strings.Cut(owner, " S-1-")
	return name
}

// A row is what became of an RRset in a change.
type row struct {
	Name, Type string
	Old, New   []string
}

// rows puts the former and the new values of each RRset side by side.
func rows(removed, added []view.NamedRecord) []row {
	var list []row
	at := func(r view.NamedRecord) *row {
		for i := range list {
			if strings.EqualFold(list[i].Name, r.Name) && list[i].Type == r.Type {
				return &list[i]
			}
		}
		list = append(list, row{Name: r.Name, Type: r.Type})
		return &list[len(list)-1]
	}
	for _, r := range removed {
		value := at(r)
		value.Old = append(value.Old, r.Data)
	}
	for _, r := range added {
		value := at(r)
		value.New = append(value.New, r.Data)
	}
	return list
}

// A chart is the last 24 hours of a zone as bars, applied updates above the line and refused ones below it.
type chart struct {
	Bars             []bar
	Width            int
	Applied, Refused int
}

type bar struct {
	X, Up, Down int // heights of the two bars
	UpY         int
	Title       string
}

const (
	barStep  = 4
	barUp    = 40 // height of the highest bar of applied updates
	barDown  = 20 // and of refused ones
	leastBar = 2
)

func newChart(points []view.Point) chart {
	c := chart{Width: barStep * len(points)}
	most := 1
	for _, p := range points {
		most = max(most, p.Applied, 2*p.Refused)
		c.Applied += p.Applied
		c.Refused += p.Refused
	}
	scaled := func(n, height int) int {
		if n == 0 {
			return 0
		}
		return max(leastBar, min(height, n*barUp/most))
	}
	for i, p := range points {
		if p.Applied+p.Refused == 0 {
			continue
		}
		b := bar{X: i * barStep, Up: scaled(p.Applied, barUp), Down: scaled(p.Refused, barDown),
			Title: fmt.Sprintf("%s UTC: %d applied, %d refused", p.Start.Format("15:04"), p.Applied, p.Refused)}
		b.UpY = barUp - b.Up
		c.Bars = append(c.Bars, b)
	}
	return c
}
