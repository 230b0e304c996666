package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/miekg/dns"
)

// maxRdata is the most that RDLENGTH can say.
const maxRdata = 65535

// layouts describe the rdata of types that hold names or texts or are of fixed size: 'n' is a name
// compared without case (RFC 4034 section 6.2, as RFC 6840 section 5.1 amends it), 'N' one compared
// octet by octet, 's' a character string, 'S' one or more of them to the end, a digit or '#' (20),
// '%' (18), '=' (16) that many octets, '*' the rest.
var layouts = map[uint16]string{
	dns.TypeA:       "4",
	dns.TypeNS:      "n",
	dns.TypeMD:      "n",
	dns.TypeMF:      "n",
	dns.TypeCNAME:   "n",
	dns.TypeSOA:     "nn#",
	dns.TypeMB:      "n",
	dns.TypeMG:      "n",
	dns.TypeMR:      "n",
	typeWKS:         "5*",
	dns.TypePTR:     "n",
	dns.TypeHINFO:   "ss",
	dns.TypeMINFO:   "nn",
	dns.TypeMX:      "2n",
	dns.TypeTXT:     "S",
	dns.TypeRP:      "nn",
	dns.TypeAFSDB:   "2n",
	dns.TypeRT:      "2n",
	dns.TypeNSAPPTR: "n",
	dns.TypeSIG:     "%n*",
	dns.TypePX:      "2nn",
	dns.TypeAAAA:    "=",
	dns.TypeNXT:     "n*",
	dns.TypeSRV:     "6n",
	dns.TypeNAPTR:   "4sssn",
	dns.TypeKX:      "2n",
	dns.TypeDNAME:   "n",
	dns.TypeRRSIG:   "%n*",
	dns.TypeNSEC:    "N*",
	dns.TypeTALINK:  "nn",
	dns.TypeSPF:     "S",
	dns.TypeAVC:     "S",
	dns.TypeNINFO:   "S",
	dns.TypeSVCB:    "2N*",
	dns.TypeHTTPS:   "2N*",
	dns.TypeLP:      "2N",
}

// typeWKS is RFC 1035 section 3.4.2, which miekg does not define.
const typeWKS = 11

var sizes = map[byte]int{'2': 2, '4': 4, '5': 5, '6': 6, '#': 20, '%': 18, '=': 16}

// fields walks data as rrtype's layout says and calls visit with each name in it and whether its
// case matters. It reports whether data fits the layout; a type without layout fits.
func fields(rrtype uint16, data []byte, visit func(start, end int, exact bool)) bool {
	layout, ok := layouts[rrtype]
	if !ok {
		return true
	}
	at := 0
	for i := range len(layout) {
		switch field := layout[i]; field {
		case '*':
			return true
		case 's':
			if at >= len(data) {
				return false
			}
			at += 1 + int(data[at])
		case 'S':
			if at >= len(data) {
				return false
			}
			for at < len(data) {
				at += 1 + int(data[at])
			}
		case 'n', 'N':
			if at > len(data) {
				return false
			}
			n := wireNameLen(data[at:])
			if n == 0 {
				return false
			}
			if visit != nil {
				visit(at, at+n, field == 'N')
			}
			at += n
		default:
			at += sizes[field]
		}
		if at > len(data) {
			return false
		}
	}
	return at == len(data)
}

// fold returns data with the names in it in lower case, as far as the type compares them without
// case: the canonical form of RFC 4034 section 6.2. It returns data itself if that is what it
// holds.
func fold(rrtype uint16, data []byte) []byte {
	if !hasFoldedName(rrtype) {
		return data
	}
	folded := data
	fields(rrtype, data, func(start, end int, exact bool) {
		if exact {
			return
		}
		for i := start; i < end; i++ {
			if l := lower(data[i]); l != data[i] {
				if &folded[0] == &data[0] {
					folded = bytes.Clone(data)
				}
				folded[i] = l
			}
		}
	})
	return folded
}

func hasFoldedName(rrtype uint16) bool {
	return bytes.IndexByte([]byte(layouts[rrtype]), 'n') >= 0
}

// compareRdata orders the records of an RRset as RFC 4034 section 6.3 does. Those that compare
// equal are the same record.
func compareRdata(rrtype uint16, a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	return bytes.Compare(fold(rrtype, a), fold(rrtype, b))
}

// zeroRdata holds, for each type that miekg knows, what the zero value of its struct packs to.
// miekg unpacks a record without rdata to such a value, and nothing shorter than it is whole rdata
// of that type.
var zeroRdata = sync.OnceValue(func() map[uint16][]byte {
	m := make(map[uint16][]byte, len(dns.TypeToRR))
	for rrtype, construct := range dns.TypeToRR {
		rr := construct()
		rr.Header().Name, rr.Header().Rrtype = ".", rrtype
		var buf [512]byte
		end, err := dns.PackRR(rr, buf[:], 0, nil, false)
		if err != nil || end < rrHeader {
			continue
		}
		m[rrtype] = bytes.Clone(buf[rrHeader:end])
	}
	return m
})

// rrHeader is the size of a record's header whose owner is the root.
const rrHeader = 11

var packBuffers = sync.Pool{New: func() any {
	b := make([]byte, maxWireName+rrHeader+maxRdata)
	return &b
}}

// rdataOf returns rr's rdata in uncompressed wire form.
func rdataOf(rr dns.RR) ([]byte, error) {
	switch rr := rr.(type) {
	case *dns.A:
		if ip := rr.A.To4(); ip != nil {
			return bytes.Clone(ip), nil
		}
	case *dns.AAAA:
		if len(rr.AAAA) == 16 {
			return bytes.Clone(rr.AAAA), nil
		}
	}
	buf := packBuffers.Get().(*[]byte)
	defer packBuffers.Put(buf)
	// PackRR notes the length in the header of a message that is not ours.
	h := rr.Header()
	length := h.Rdlength
	defer func() { h.Rdlength = length }()
	end, err := dns.PackRR(rr, *buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	start := wireNameLen(*buf) + rrHeader - 1
	if end < start {
		return nil, errBadName
	}
	return bytes.Clone((*buf)[start:end]), nil
}

// checkRdata reports whether data is whole rdata of its type. miekg's unpacking takes some that
// ends in the middle; it must not get into the zone.
func checkRdata(rrtype uint16, data []byte) error {
	_, known := layouts[rrtype]
	switch {
	case len(data) > maxRdata:
	case !fields(rrtype, data, nil):
	case !known && len(data) < len(zeroRdata()[rrtype]):
	default:
		return nil
	}
	return fmt.Errorf("bad rdata of %d octets for type %s", len(data), dns.Type(rrtype))
}

// aRecord and aaaaRecord keep a record and its address in one allocation.
type aRecord struct {
	rr      dns.A
	address [4]byte
}

type aaaaRecord struct {
	rr      dns.AAAA
	address [16]byte
}

// newRR makes a record of wire rdata. The record shares nothing with data.
func newRR(owner string, rrtype uint16, ttl uint32, data []byte) dns.RR {
	h := dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl, Rdlength: uint16(len(data))}
	switch {
	case rrtype == dns.TypeA && len(data) == 4:
		r := &aRecord{rr: dns.A{Hdr: h}, address: [4]byte(data)}
		r.rr.A = r.address[:]
		return &r.rr
	case rrtype == dns.TypeAAAA && len(data) == 16:
		r := &aaaaRecord{rr: dns.AAAA{Hdr: h}, address: [16]byte(data)}
		r.rr.AAAA = r.address[:]
		return &r.rr
	}
	return unpackRR(h, data)
}

// unpackRR is apart so that its header alone goes to the heap.
func unpackRR(h dns.RR_Header, data []byte) dns.RR {
	if rr, _, err := dns.UnpackRRWithHeader(h, data, 0); err == nil {
		return rr
	}
	// What does not unpack as its type is still the zone's data (RFC 3597).
	return &dns.RFC3597{Hdr: h, Rdata: fmt.Sprintf("%x", data)}
}

// soaSerial returns the serial in an SOA's rdata.
func soaSerial(data []byte) uint32 {
	return binary.BigEndian.Uint32(data[len(data)-20:])
}

// nextSerial increments as RFC 1982 does, but for 0, which some secondaries take for no serial at
// all.
func nextSerial(serial uint32) uint32 {
	if serial++; serial == 0 {
		return 1
	}
	return serial
}

// serialAfter reports whether a is greater than b in the arithmetic of RFC 1982 section 3.2. Where
// that leaves it undefined, it is not.
func serialAfter(a, b uint32) bool {
	d := a - b
	return d != 0 && d < 1<<31
}

// isMeta reports whether no record of the type can be in a zone: questions and meta-types (RFC 6895
// section 3.1), OPT, and the reserved 0 and 65535.
func isMeta(rrtype uint16) bool {
	return rrtype == 0 || rrtype == dns.TypeOPT || rrtype == 65535 || (rrtype >= 128 && rrtype <= 255)
}

// besideCNAME reports whether the type may be at a name that has a CNAME (RFC 2136 section 3.4.2.2
// with RFC 4034 sections 2.5, 3 and 4).
func besideCNAME(rrtype uint16) bool {
	switch rrtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY:
		return true
	}
	return false
}

// replaces reports whether adding record b to its RRset displaces a, a different record of it (RFC
// 2136 section 3.4.2.2, RFC 6672 section 5.2).
func replaces(rrtype uint16, a, b []byte) bool {
	switch rrtype {
	case dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME:
		return true
	case typeWKS:
		return bytes.Equal(a[:5], b[:5])
	}
	return false
}
