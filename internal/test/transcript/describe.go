package transcript

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// describe says in one line what a message is.
func describe(wire []byte) string {
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return "malformed: " + err.Error()
	}
	var b strings.Builder
	b.WriteString(dns.OpcodeToString[m.Opcode])
	if m.Response {
		b.WriteString(" reply " + dns.RcodeToString[m.Rcode])
	}
	for _, q := range m.Question {
		fmt.Fprintf(&b, " %s %s", q.Name, dns.TypeToString[q.Qtype])
	}
	for _, section := range []struct {
		name    string
		records []dns.RR
	}{{"answer", m.Answer}, {"authority", m.Ns}, {"additional", m.Extra}} {
		name := section.name
		if m.Opcode == dns.OpcodeUpdate {
			name = map[string]string{"answer": "prerequisites", "authority": "updates", "additional": "additional"}[name]
		}
		for i, rr := range section.records {
			if i == 0 {
				b.WriteString("; " + name + ":")
			} else {
				b.WriteString(",")
			}
			b.WriteString(" " + describeRecord(rr))
		}
	}
	return b.String()
}

// describeRecord leaves out tokens and MACs, which are no use to a reader.
func describeRecord(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.TKEY:
		return fmt.Sprintf("TKEY %s mode %d error %d, %d octets", rr.Algorithm, rr.Mode, rr.Error, len(rr.Key)/2)
	case *dns.TSIG:
		return fmt.Sprintf("TSIG %s %s at %d fudge %d error %d, %d octets", rr.Hdr.Name, rr.Algorithm, rr.TimeSigned, rr.Fudge, rr.Error, rr.MACSize)
	case *dns.OPT:
		return fmt.Sprintf("OPT %d", rr.UDPSize())
	}
	h := rr.Header()
	switch h.Class {
	case dns.ClassNONE, dns.ClassANY:
		return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", h.Name, dns.ClassToString[h.Class], dns.TypeToString[h.Rrtype],
			strings.TrimPrefix(rr.String(), h.String()))), " ")
	}
	return strings.Join(strings.Fields(rr.String()), " ")
}
