package linearizable

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/miekg/dns"
)

// A History is what was sent, and how it was answered. Its methods are safe for concurrent use.
type History struct {
	start time.Time

	mu         sync.Mutex
	operations []porcupine.Operation
	counts     Counts
	paths      map[string][]string // of groups, once Resolve knows them
}

// NewHistory begins a history.
func NewHistory() *History { return &History{start: time.Now()} }

// Counts tells how much a history has met.
type Counts struct {
	Updates int
	// Rcodes are the answers.
	Rcodes map[int]int
	// Unknown is how many updates may have been done or not.
	Unknown int
}

// String returns the counts in one line.
func (c Counts) String() string {
	text := fmt.Sprintf("%d updates: ", c.Updates)
	for rcode := range dns.RcodeBadVers {
		if n := c.Rcodes[rcode]; n > 0 {
			text += fmt.Sprintf("%d %s, ", n, dns.RcodeToString[rcode])
		}
	}
	return text + fmt.Sprintf("%d unknown", c.Unknown)
}

// What is in place of an rcode.
const (
	// Unknown is where there was none, or SERVFAIL.
	Unknown = -1
	// NotSent is for an update that no server can have done. It is no part of the history.
	NotSent = -2
)

// output is an rcode, or what the names of a group had: sorted, as recordText has them.
type output struct {
	rcode    int
	contents []string
}

// contents is the input of an operation that reads a group.
type contents struct{ group string }

// Do records an update that send sends, and what it returns: an rcode, Unknown or NotSent. client numbers who sends, one
// update at a time.
func (h *History) Do(client int, u *Update, send func() int) {
	call := time.Since(h.start)
	rcode := send()
	ended := int64(time.Since(h.start))
	if rcode == NotSent {
		return
	}
	if rcode == dns.RcodeServerFailure {
		rcode = Unknown
	}
	if rcode == Unknown {
		ended = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: client, Input: u, Call: int64(call), Output: output{rcode: rcode}, Return: ended})
	h.counts.Updates++
	if h.counts.Rcodes == nil {
		h.counts.Rcodes = make(map[int]int)
	}
	if rcode == Unknown {
		h.counts.Unknown++
		return
	}
	h.counts.Rcodes[rcode]++
}

// Contents records all of what the zone has in the end, at the names of one group. Its records are those of [Record].
func (h *History) Contents(group string, records []string) {
	records = slices.Sorted(slices.Values(records))
	h.mu.Lock()
	defer h.mu.Unlock()
	now := int64(time.Since(h.start))
	h.operations = append(h.operations, porcupine.Operation{Input: contents{group}, Call: now, Output: output{contents: records}, Return: now + 1})
}

// Counts returns what the history has met so far.
func (h *History) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.counts
	c.Rcodes = make(map[int]int, len(h.counts.Rcodes))
	for rcode, n := range h.counts.Rcodes {
		c.Rcodes[rcode] = n
	}
	return c
}

// Acknowledged returns the updates that were answered NOERROR.
func (h *History) Acknowledged() []*Update {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*Update
	for _, op := range h.operations {
		if u, ok := op.Input.(*Update); ok && op.Output.(output).rcode == dns.RcodeSuccess {
			list = append(list, u)
		}
	}
	return list
}

// Resolve tells what became of updates whose outcome is unknown, as far as the TXT records in the zone's changes tell it: those
// whose records are there were done, and those whose records are not were not. The order that [History.Check] looks for has to lead
// to the contents that the changes lead to, one after the other. The search would not end in time otherwise if the outcome of many
// updates is unknown. c has all changes since the history began, has no update twice, and nothing is under way any more.
func (h *History) Resolve(c Chain) {
	came := c.came()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paths = make(map[string][]string)
	for _, op := range h.operations {
		if group := groupOf(op); h.paths[group] == nil {
			h.paths[group] = c.path(group)
		}
	}
	// A message may have been sent to several servers.
	sent, acknowledged := make(map[*Update]int), make(map[*Update]bool)
	for _, op := range h.operations {
		if u, ok := op.Input.(*Update); ok {
			sent[u]++
			acknowledged[u] = acknowledged[u] || op.Output.(output).rcode == dns.RcodeSuccess
		}
	}
	now := int64(time.Since(h.start))
	var resolved []porcupine.Operation
	for _, op := range h.operations {
		u, ok := op.Input.(*Update)
		if ok && op.Output.(output).rcode == Unknown {
			values := u.values()
			switch {
			case len(values) == 0:
			case came[values[0]] == 0 || acknowledged[u]:
				continue
			case sent[u] == 1:
				op.Output, op.Return = output{rcode: dns.RcodeSuccess}, now
			}
		}
		resolved = append(resolved, op)
	}
	h.operations = resolved
}

// A Violation is an error: no order explains the answers to one group of updates.
type Violation struct {
	Group string
	text  string
}

func (v *Violation) Error() string {
	return "no order of these updates explains their answers:\n" + v.text
}

// searchTimeout is how long porcupine has for a group whose path is known until [ordered] takes over.
const searchTimeout = 10 * time.Second

// Check returns a *Violation, or an error if ctx ended before an order was found.
func (h *History) Check(ctx context.Context) error {
	h.mu.Lock()
	operations, paths := slices.Clone(h.operations), h.paths
	h.mu.Unlock()
	groups := make(map[string][]porcupine.Operation)
	for _, op := range operations {
		groups[groupOf(op)] = append(groups[groupOf(op)], op)
	}
	for group, list := range groups {
		path := paths[group]
		if path != nil {
			list = append(list, lastRead(group, path, list))
		}
		timeout := time.Duration(0) // none
		if path != nil {
			timeout = searchTimeout
		}
		if deadline, ok := ctx.Deadline(); ok && (timeout == 0 || time.Until(deadline) < timeout) {
			timeout = max(time.Until(deadline), time.Millisecond)
		}
		result := porcupine.CheckOperationsTimeout(modelOf(path), list, timeout)
		if result == porcupine.Unknown && path != nil {
			switch found, err := ordered(ctx, path, list); {
			case found:
				result = porcupine.Ok
			case err == nil:
				result = porcupine.Illegal
			}
		}
		switch result {
		case porcupine.Illegal:
			return &Violation{Group: group, text: describe(list)}
		case porcupine.Unknown:
			return fmt.Errorf("no order found in time for these %d updates of %s:\n%s", len(list), group, describe(list))
		}
	}
	return nil
}

// modelOf is what porcupine is to know about a group. path is nil if it is not known.
func modelOf(path []string) porcupine.Model {
	return porcupine.Model{Init: func() any { return place{state: new(state), path: path} }, Step: step, Equal: samePlace}
}

func groupOf(op porcupine.Operation) string {
	if u, ok := op.Input.(*Update); ok {
		return u.Group
	}
	return op.Input.(contents).group
}

// describe prints a history in the order of its beginnings.
func describe(list []porcupine.Operation) string {
	slices.SortFunc(list, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range list {
		o, ended := op.Output.(output), "?"
		if op.Return != math.MaxInt64 {
			ended = fmt.Sprint(op.Return / 1000)
		}
		fmt.Fprintf(&b, "client %d, %d-%s µs: ", op.ClientId, op.Call/1000, ended)
		if u, ok := op.Input.(*Update); !ok {
			fmt.Fprintf(&b, "contents %q\n", o.contents)
		} else if o.rcode == Unknown {
			fmt.Fprintf(&b, "%v unknown\n", u)
		} else {
			fmt.Fprintf(&b, "%v %s\n", u, dns.RcodeToString[o.rcode])
		}
	}
	return b.String()
}
