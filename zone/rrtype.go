package zone

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// What the zone knows of single types, beyond the table of package dnswire.

// soaFixed is the length of an SOA's rdata behind its names: SERIAL to MINIMUM.
const soaFixed = 20

// soaSerial returns the serial in an SOA's rdata.
func soaSerial(data []byte) uint32 {
	return binary.BigEndian.Uint32(data[len(data)-soaFixed:])
}

// nextSerial increments as RFC 1982 does, but skips 0, which some secondaries take for no serial at
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

// isStructural reports whether the zone itself reads the rdata of a type, so that it must be valid
// even in a store that an earlier release has written.
func isStructural(rrtype uint16) bool {
	switch rrtype {
	case dnswire.TypeNS, dnswire.TypeCNAME, dnswire.TypeSOA, dnswire.TypeWKS, dnswire.TypeMX, dnswire.TypeSRV, dnswire.TypeDNAME:
		return true
	}
	return false
}

// atApex reports whether the type is one that the apex is never without.
func atApex(rrtype uint16) bool {
	return rrtype == dnswire.TypeSOA || rrtype == dnswire.TypeNS
}

// besideCNAME reports whether the type may be at a name that has a CNAME (RFC 2136 section 3.4.2.2
// with RFC 4034 sections 2.5, 3 and 4).
func besideCNAME(rrtype uint16) bool {
	switch rrtype {
	case dnswire.TypeRRSIG, dnswire.TypeNSEC, dnswire.TypeKEY:
		return true
	}
	return false
}

// replaces reports whether adding record b to its RRset displaces a, a different record of it (RFC
// 2136 section 3.4.2.2, RFC 6672 section 5.2). A set of RESINFO has one record (RFC 9606 section 4), and
// BIND takes no transfer with more.
func replaces(rrtype uint16, a, b []byte) bool {
	switch rrtype {
	case dnswire.TypeSOA, dnswire.TypeCNAME, dnswire.TypeDNAME, dnswire.TypeRESINFO:
		return true
	case dnswire.TypeWKS:
		const addressAndProtocol = 5
		return bytes.Equal(a[:addressAndProtocol], b[:addressAndProtocol])
	}
	return false
}

// misplaced reports whether a record of that type has no meaning at that name: what an NS or DNAME
// at a wildcard would do is not defined (RFC 4592 sections 4.2 and 4.4), and the DS of the apex is
// in the parent zone (RFC 4035 section 2.4). BIND ignores such additions too. It loads no such NS and DS
// records.
func misplaced(rrtype uint16, key string) bool {
	switch rrtype {
	case dnswire.TypeNS, dnswire.TypeDNAME:
		return key == wildcardKey || strings.HasSuffix(key, "\x00"+wildcardKey)
	case dnswire.TypeDS:
		return key == ""
	}
	return false
}
