package msdnsp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// A Record is a value of dnsRecord ([MS-DNSP] 2.3.2.2).
type Record struct {
	// Type is the type of the record. It is 0 for a tombstone: the node's records were deleted.
	Type uint16
	TTL  uint32
	// Hours are the hours of Unix time at the last refresh of a dynamic record; 0 for a static one.
	Hours uint32
	// Data is the uncompressed rdata in wire form, nil for a tombstone.
	Data []byte
	// Deleted is when a tombstone was made, in UTC; it is zero if the value does not say.
	Deleted time.Time
}

// Errors of values that cannot be read.
var (
	// ErrRecord means that octets are no value of dnsRecord.
	ErrRecord = errors.New("malformed dnsRecord value")
	// ErrWINS means that a record is a setting for Microsoft's WINS lookup, which is no record of DNS.
	ErrWINS = errors.New("the setting of a WINS lookup is no record of DNS")
)

const (
	recordHead    = 24
	recordVersion = 5

	typeTombstone = 0
	typeWINS      = 0xff01
	typeWINSR     = 0xff02

	// unixHour is 1970-01-01 in hours since 1601-01-01.
	unixHour = 134774 * 24
	// unixInterval is the same in the intervals of FILETIME, 100 ns.
	unixInterval = unixHour * 3600 * 10_000_000
)

// ParseRecord reads a value of dnsRecord. The error wraps ErrRecord, ErrWINS or an error of package dnswire.
func ParseRecord(value []byte) (Record, error) {
	if len(value) < recordHead || value[4] != recordVersion || int(binary.LittleEndian.Uint16(value)) != len(value)-recordHead {
		return Record{}, ErrRecord
	}
	r := Record{
		Type: binary.LittleEndian.Uint16(value[2:]),
		TTL:  binary.BigEndian.Uint32(value[12:]), // the one number of the head in that order
	}
	if hours := binary.LittleEndian.Uint32(value[20:]); hours > 0 {
		// No DNS server was older than Unix time.
		r.Hours = max(hours, unixHour+1) - unixHour
	}
	data := value[recordHead:]
	switch r.Type {
	case typeTombstone:
		if len(data) >= 8 {
			if since := binary.LittleEndian.Uint64(data); since > unixInterval && since < 1<<62 {
				r.Deleted = time.Unix(int64((since-unixInterval)/10_000_000), 0).UTC()
			}
		}
		return r, nil
	case typeWINS, typeWINSR:
		return Record{}, ErrWINS
	}
	var ok bool
	if r.Data, ok = rdata(r.Type, data); !ok {
		return Record{}, fmt.Errorf("%w of type %s", ErrRecord, dnswire.TypeText(r.Type))
	}
	if err := dnswire.Validate(r.Type, r.Data); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return r, nil
}

// A field is a part of the data of a record.
type field uint8

const (
	name       field = iota // DNS_COUNT_NAME, [MS-DNSP] 2.2.2.2.2
	number16                // two octets in network byte order
	characters              // DNS_RPC_NAME, [MS-DNSP] 2.2.2.2.1: a character-string
	strings                 // any number of these
)

// layouts are the data of types whose form in the directory is not that of messages. Those of SOA differ in their order too.
var layouts = map[uint16][]field{
	dnswire.TypeNS: {name}, dnswire.TypeMD: {name}, dnswire.TypeMF: {name}, dnswire.TypeCNAME: {name}, dnswire.TypeMB: {name},
	dnswire.TypeMG: {name}, dnswire.TypeMR: {name}, dnswire.TypePTR: {name}, dnswire.TypeDNAME: {name},
	dnswire.TypeMINFO: {name, name}, dnswire.TypeRP: {name, name},
	dnswire.TypeMX: {number16, name}, dnswire.TypeAFSDB: {number16, name}, dnswire.TypeRT: {number16, name},
	dnswire.TypeSRV:   {number16, number16, number16, name},
	dnswire.TypeNAPTR: {number16, number16, characters, characters, characters, name},
	dnswire.TypeTXT:   {strings}, dnswire.TypeHINFO: {strings}, dnswire.TypeISDN: {strings}, dnswire.TypeX25: {strings},
}

// soaNumbers are the octets of serial, refresh, retry, expire and minimum, which come before the names of an SOA record.
const soaNumbers = 20

// rdata makes rdata of the data of a record in the directory. It is not validated.
func rdata(rrtype uint16, data []byte) ([]byte, bool) {
	if rrtype == dnswire.TypeSOA {
		if len(data) < soaNumbers {
			return nil, false
		}
		names, ok := fields([]field{name, name}, data[soaNumbers:])
		return append(names, data[:soaNumbers]...), ok
	}
	layout, ok := layouts[rrtype]
	if !ok {
		return slices.Clone(data), true
	}
	return fields(layout, data)
}

// fields reads the fields of a layout, which must be all of the data.
func fields(layout []field, data []byte) (out []byte, ok bool) {
	out = make([]byte, 0, len(data))
	for _, f := range layout {
		n := 0
		switch f {
		case name:
			// Octets and labels are counted in front of a name in wire form.
			if len(data) < 2 || len(data) < 2+int(data[0]) {
				return nil, false
			}
			raw := data[2 : 2+int(data[0])]
			if n = 2 + len(raw); len(raw) == 0 || string(raw) == "\x00\x00" {
				raw = []byte{0} // the root, also as Samba writes it
			}
			if dnswire.NameLen(raw) != len(raw) {
				return nil, false
			}
			out = append(out, raw...)
		case number16:
			if n = 2; len(data) < n {
				return nil, false
			}
			out = append(out, data[:n]...)
		case characters:
			if len(data) == 0 || len(data) < 1+int(data[0]) {
				return nil, false
			}
			n = 1 + int(data[0])
			out = append(out, data[:n]...)
		case strings:
			for len(data)-n > 0 {
				n += 1 + int(data[n])
			}
			if n > len(data) {
				return nil, false
			}
			out = append(out, data[:n]...)
		}
		data = data[n:]
	}
	return out, len(data) == 0
}
