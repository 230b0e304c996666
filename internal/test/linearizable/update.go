package linearizable

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// A Form is a form of a prerequisite (RFC 2136 section 2.4) or of an update record (section 2.5).
type Form uint8

// The forms.
const (
	SetExists    Form = iota // RRset exists (value independent)
	SetEquals                // RRset exists (value dependent)
	SetAbsent                // RRset does not exist
	NameInUse                // name is in use
	NameUnused               // name is not in use
	Add                      // add to an RRset
	DeleteSet                // delete an RRset
	DeleteName               // delete all RRsets from a name
	DeleteRecord             // delete an RR from an RRset
)

// A Line is a record of an update.
type Line struct {
	Form Form
	Name string // absolute, in lower case
	Type uint16 // of NameInUse, NameUnused and DeleteName it is not used
	Data string // of SetEquals, Add and DeleteRecord: rdata as it is printed
	TTL  uint32 // of Add
}

// An Update is one UPDATE message.
type Update struct {
	// Group tells apart updates that have no name in common.
	Group string
	Zone  string
	// Principal sends it.
	Principal     string
	Prerequisites []Line
	Lines         []Line
}

// Message returns the update as a message that is not signed.
func (u *Update) Message() (*dns.Msg, error) {
	m := new(dns.Msg).SetUpdate(u.Zone)
	for _, section := range []struct {
		lines []Line
		to    *[]dns.RR
	}{{u.Prerequisites, &m.Answer}, {u.Lines, &m.Ns}} {
		for _, l := range section.lines {
			rr, err := l.record()
			if err != nil {
				return nil, err
			}
			*section.to = append(*section.to, rr)
		}
	}
	return m, nil
}

func (l Line) record() (dns.RR, error) {
	header := dns.RR_Header{Name: l.Name, Rrtype: l.Type, Class: dns.ClassANY}
	switch l.Form {
	case NameUnused, SetAbsent:
		header.Class = dns.ClassNONE
	case SetEquals, Add:
		header.Class, header.Ttl = dns.ClassINET, l.TTL
	case DeleteRecord:
		header.Class = dns.ClassNONE
	}
	switch l.Form {
	case NameInUse, NameUnused, DeleteName:
		header.Rrtype = dns.TypeANY
		return &dns.ANY{Hdr: header}, nil
	case SetExists, SetAbsent, DeleteSet:
		return &dns.ANY{Hdr: header}, nil
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", l.Name, header.Ttl, dns.TypeToString[l.Type], l.Data))
	if err != nil {
		return nil, fmt.Errorf("%v: %w", l, err)
	}
	rr.Header().Class = header.Class
	return rr, nil
}

// String returns the line much as nsupdate takes it.
func (l Line) String() string {
	first, _, _ := strings.Cut(l.Name, ".")
	rrtype := dns.TypeToString[l.Type]
	switch l.Form {
	case SetExists:
		return "yxrrset " + first + " " + rrtype
	case SetEquals:
		return "yxrrset " + first + " " + rrtype + " " + l.Data
	case SetAbsent:
		return "nxrrset " + first + " " + rrtype
	case NameInUse:
		return "yxdomain " + first
	case NameUnused:
		return "nxdomain " + first
	case Add:
		return fmt.Sprintf("add %s %d %s %s", first, l.TTL, rrtype, l.Data)
	case DeleteSet:
		return "delete " + first + " " + rrtype
	case DeleteName:
		return "delete " + first
	}
	return "delete " + first + " " + rrtype + " " + l.Data
}

// String returns who sends what.
func (u *Update) String() string {
	parts := []string{u.Principal + ":"}
	for _, list := range [][]Line{u.Prerequisites, u.Lines} {
		for _, l := range list {
			parts = append(parts, l.String()+";")
		}
	}
	return strings.Join(parts, " ")
}
