package linearizable

import (
	"math"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A place is how far the search for an order has come: what the zone has there at the names of a group.
type place struct {
	*state
	// path is what the names of the group had, one after the other, as the zone's changes tell it; nil if they are not known.
	path []string
	at   int  // index in path
	read bool // the contents were read in the end
}

func samePlace(a, b any) bool {
	p, q := a.(place), b.(place)
	return p.at == q.at && p.read == q.read && p.text == q.text
}

// step does an operation at a place, and reports whether the outcome is the one that was observed.
func step(before, input, out any) (bool, any) {
	p, o := before.(place), out.(output)
	u, ok := input.(*Update)
	if !ok {
		p.read = true
		return slices.Equal(p.contents(), o.contents), p
	}
	rcode, after := p.update(u)
	known := o.rcode != Unknown
	switch {
	case known && rcode != o.rcode:
		return false, p
	case p.path == nil:
		p.state = after
		return true, p
	case after != p.state && p.at+1 < len(p.path) && textOf(after.contents()) == p.path[p.at+1]:
		p.state = after
		p.at++
		return true, p
	}
	// One of unknown outcome that changes nothing is as one that was never done, and that has one place in the order: the end.
	return known && after == p.state || !known && p.read, p
}

func textOf(contents []string) string { return strings.Join(contents, "\n") }

// path returns what the names of a group had, one after the other. They had nothing before the chain.
func (c Chain) path(group string) []string {
	has := make(map[string]bool)
	path := []string{""}
	for _, change := range c {
		touched := false
		for i, records := range [][]string{change.Removed, change.Added} {
			for _, record := range records {
				if strings.HasPrefix(record, group+"-") {
					has[record], touched = i == 1, true
				}
			}
		}
		if !touched {
			continue
		}
		var contents []string
		for record, there := range has {
			if there {
				contents = append(contents, record)
			}
		}
		slices.Sort(contents)
		if text := textOf(contents); text != path[len(path)-1] {
			path = append(path, text)
		}
	}
	return path
}

// lastRead is an operation that reads the end of a path, after all others.
func lastRead(group string, path []string, all []porcupine.Operation) porcupine.Operation {
	last := int64(0)
	for _, op := range all {
		last = max(last, op.Call)
		if op.Return != math.MaxInt64 {
			last = max(last, op.Return)
		}
	}
	var has []string
	if text := path[len(path)-1]; text != "" {
		has = strings.Split(text, "\n")
	}
	return porcupine.Operation{Input: contents{group}, Call: last + 1, Output: output{contents: has}, Return: last + 2}
}
