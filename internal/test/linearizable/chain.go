package linearizable

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A Change is one step of a zone, as an incremental transfer has it (RFC 1995), its records as [Record] has them.
type Change struct {
	From, To       uint32
	Removed, Added []string // without SOA, in order
}

// A Chain is changes, each of which begins where the one before it ended.
type Chain []Change

// ParseTransfer reads an incremental transfer. The list of its records begins and ends with the newest SOA record.
func ParseTransfer(records []dns.RR) (Chain, error) {
	if len(records) == 1 {
		return nil, nil
	}
	if len(records) < 4 {
		return nil, fmt.Errorf("%d records are no incremental transfer", len(records))
	}
	var chain Chain
	adding := true
	for i, rr := range records[1 : len(records)-1] {
		soa, ok := rr.(*dns.SOA)
		switch {
		case ok && adding:
			chain = append(chain, Change{From: soa.Serial})
			adding = false
		case ok:
			chain[len(chain)-1].To = soa.Serial
			adding = true
		case i == 0:
			return nil, fmt.Errorf("a transfer of the whole zone instead of an incremental one")
		case adding:
			chain[len(chain)-1].Added = append(chain[len(chain)-1].Added, Record(rr))
		default:
			chain[len(chain)-1].Removed = append(chain[len(chain)-1].Removed, Record(rr))
		}
	}
	for i := range chain[1:] {
		if chain[i].To != chain[i+1].From {
			return nil, fmt.Errorf("a change from %d follows one to %d", chain[i+1].From, chain[i].To)
		}
	}
	return chain, nil
}

// Equal returns an error that says where two chains differ, nil if they do not.
func (c Chain) Equal(other Chain) error {
	for i := range min(len(c), len(other)) {
		a, b := c[i], other[i]
		if a.From != b.From || a.To != b.To || !slices.Equal(a.Removed, b.Removed) || !slices.Equal(a.Added, b.Added) {
			return fmt.Errorf("change %d of %d: %+v, and %+v", i, len(c), a, b)
		}
	}
	if len(c) != len(other) {
		return fmt.Errorf("%d changes, and %d", len(c), len(other))
	}
	return nil
}

// Once returns an error if an update in the history that was acknowledged is not in the chain, which has all changes since the
// history began, or if any update is in it twice. It looks at TXT records: no two updates of generators add the same.
func (c Chain) Once(h *History) error {
	came := c.came()
	for value, n := range came {
		if n > 1 {
			return fmt.Errorf("%s was added %d times", value, n)
		}
	}
	for _, u := range h.Acknowledged() {
		for _, value := range u.values() {
			if came[value] == 0 {
				return fmt.Errorf("acknowledged, and not to be found in %d changes: %v", len(c), u)
			}
		}
	}
	return nil
}

// came returns how often each TXT record was added, without its TTL.
func (c Chain) came() map[string]int {
	came := make(map[string]int)
	for _, change := range c {
		// Another TTL removes and adds a value that was there.
		was := make(map[string]bool, len(change.Removed))
		for _, record := range change.Removed {
			was[valueOf(record)] = true
		}
		for _, record := range change.Added {
			if value := valueOf(record); !was[value] && strings.Contains(value, textType) {
				came[value]++
			}
		}
	}
	return came
}

// Serial returns the serial of the change that the update made, as far as its TXT records tell it. found is false if they do
// not.
func (c Chain) Serial(u *Update) (serial uint32, found bool) {
	values := u.values()
	for _, change := range c {
		for _, record := range change.Added {
			if slices.Contains(values, valueOf(record)) {
				return change.To, true
			}
		}
	}
	return 0, false
}

const textType = " TXT "

// values returns the TXT records that the update adds, without their TTL.
func (u *Update) values() []string {
	after := make(map[string]*entry)
	for _, l := range u.Lines {
		if after[l.Name] == nil {
			after[l.Name] = new(entry)
		}
		after[l.Name].apply(l)
	}
	var list []string
	for name, e := range after {
		for _, record := range e.records(name) {
			if value := valueOf(record); strings.Contains(value, textType) {
				list = append(list, value)
			}
		}
	}
	return list
}

// valueOf returns a record without its TTL.
func valueOf(record string) string {
	name, rest, _ := strings.Cut(record, " ")
	_, rest, _ = strings.Cut(rest, " ")
	return name + " " + rest
}
