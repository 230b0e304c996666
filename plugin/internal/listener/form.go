package listener

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

const headerSize = 12 // octets, RFC 1035 section 4.1.1

func knownOpcode(opcode int) bool {
	return opcode == dns.OpcodeQuery || opcode == dns.OpcodeNotify || opcode == dns.OpcodeUpdate
}

func isTKEY(m *dns.Msg) bool {
	return m.Opcode == dns.OpcodeQuery && m.Question[0].Qtype == dns.TypeTKEY
}

func isTransfer(m *dns.Msg) bool {
	return m.Question[0].Qtype == dns.TypeAXFR || m.Question[0].Qtype == dns.TypeIXFR
}

// Modes of TKEY that gsstsig answers (RFC 2930 section 2.5).
const (
	modeGSS    = 3
	modeDelete = 5
)

// offersContext reports whether a TKEY query is one of GSS-TSIG (RFC 3645): clients put its record into the additional
// section, or into the answer section as Windows does.
func offersContext(m *dns.Msg) bool {
	for _, section := range [...][]dns.RR{m.Extra, m.Answer} {
		for _, rr := range section {
			if tkey, ok := rr.(*dns.TKEY); ok && (tkey.Mode == modeGSS || tkey.Mode == modeDelete) {
				return true
			}
		}
	}
	return false
}

// hasTSIG reports whether an unpacked message has a TSIG record. If the authenticator has not found one in the octets, the two
// parsers disagree, which an attacker could use.
func hasTSIG(m *dns.Msg) bool {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				return true
			}
		}
	}
	return false
}

// complete reports whether the message holds all the records that its header counts. Unpack accepts a message whose octets
// end before.
func complete(m *dns.Msg, wire []byte) bool {
	for i, n := range []int{len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra)} {
		if n != int(binary.BigEndian.Uint16(wire[4+2*i:])) {
			return false
		}
	}
	return true
}

// acceptable reports whether the opcode permits the numbers of records in the sections. An UPDATE may have any: they are
// checked where its zone is known.
func acceptable(m *dns.Msg) bool {
	if len(m.Question) != 1 {
		return false
	}
	if m.Opcode == dns.OpcodeUpdate {
		return true
	}
	// An answer comes with NOTIFY (RFC 1996 section 3.7) and with some clients' TKEY, an authority record with IXFR
	// (RFC 1995 section 3), additional ones are OPT, TSIG and the TKEY of others.
	additional := 2
	if m.Question[0].Qtype == dns.TypeTKEY {
		additional++
	}
	return len(m.Answer) <= 1 && len(m.Ns) <= 1 && len(m.Extra) <= additional
}

// validOPT reports whether a message has one OPT record at most, in the additional section and owned by the root
// (RFC 6891 sections 6.1.1 and 6.1.2).
func validOPT(m *dns.Msg) bool {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeOPT {
				return false
			}
		}
	}
	n := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			if n++; rr.Header().Name != "." {
				return false
			}
		}
	}
	return n <= 1
}

// messageEnd returns the offset of the end of the last record that the header counts. It reports false if the octets end
// before.
func messageEnd(wire []byte) (end int, ok bool) {
	walker, err := dnswire.NewWalker(wire)
	if err != nil {
		return 0, false
	}
	end = headerSize
	for record := (dnswire.Record{}); walker.Next(&record); {
		end = record.End
	}
	err = walker.Err()
	return end, err == nil || errors.Is(err, dnswire.ErrTrailing)
}
