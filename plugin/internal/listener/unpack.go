package listener

import (
	"encoding/hex"
	"errors"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

var errMetaType = errors.New("a record that can be in no zone is malformed")

// unpackUpdate makes a dns.Msg of an UPDATE request that [dns.Msg.Unpack] does not take. There are well-formed records that
// miekg/dns cannot unpack, such as NXT, GPOS with empty strings, and ISDN without a subaddress. A zone reads them from the
// octets (UpdateFrom). Here they are of type dns.RFC3597, all other records are of their own types, so that the plugins
// around the zone's see the whole message. The records' form is that of dnswire: for one that it does not take either, the
// message is malformed.
func unpackUpdate(octets []byte) (*dns.Msg, error) {
	walker, err := dnswire.NewWalker(octets)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	var header [headerSize]byte // without counts
	copy(header[:], octets[:4])
	if err := m.Unpack(header[:]); err != nil {
		return nil, err
	}
	var record dnswire.Record
	for walker.Next(&record) {
		if record.Section == dnswire.Questions {
			name, _, err := dns.UnpackDomainName(octets, record.Start)
			if err != nil {
				return nil, err
			}
			m.Question = append(m.Question, dns.Question{Name: name, Qtype: record.Type, Qclass: record.Class})
			continue
		}
		rr, err := unpackRecord(&walker, &record, octets)
		if err != nil {
			return nil, err
		}
		switch record.Section {
		case dnswire.Answers:
			m.Answer = append(m.Answer, rr)
		case dnswire.Authority:
			m.Ns = append(m.Ns, rr)
		default:
			m.Extra = append(m.Extra, rr)
		}
	}
	return m, walker.Err()
}

// unpackRecord returns a record, as dns.RFC3597 where miekg/dns cannot unpack it. It does not return one of a type that
// plugins know by the type in the header alone, such as OPT.
func unpackRecord(walker *dnswire.Walker, record *dnswire.Record, octets []byte) (dns.RR, error) {
	if rr, end, err := dns.UnpackRR(octets, record.Start); err == nil && end == record.End {
		return rr, nil
	}
	if dnswire.IsMeta(record.Type) {
		return nil, errMetaType
	}
	name, _, err := dns.UnpackDomainName(octets, record.Start)
	if err != nil {
		return nil, err
	}
	rdata, err := walker.AppendRdata(nil, record)
	if err != nil {
		return nil, err
	}
	h := dns.RR_Header{Name: name, Rrtype: record.Type, Class: record.Class, Ttl: record.TTL, Rdlength: uint16(len(rdata))}
	return &dns.RFC3597{Hdr: h, Rdata: hex.EncodeToString(rdata)}, nil
}
