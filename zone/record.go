package zone

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Records are octets. The functions here convert them to and from the structs of miekg/dns, which
// CoreDNS works with.

const maxRdata = 65535 // RDLENGTH has 16 bits

// RecordOf returns rr with its owner and rdata in wire form.
func RecordOf(rr dns.RR) (store.Record, error) {
	if rr == nil {
		return store.Record{}, errNoRecord
	}
	h := rr.Header()
	var buf [dnswire.MaxName]byte
	n, ok := packWire(&buf, h.Name)
	if !ok {
		return store.Record{}, fmt.Errorf("%q is not an absolute domain name", h.Name)
	}
	packed := packBuffers.Get().(*[]byte)
	defer packBuffers.Put(packed)
	data, err := packRdata(rr, *packed)
	if err != nil {
		return store.Record{}, fmt.Errorf("%s: %w", h.Name, err)
	}
	return store.Record{Name: string(buf[:n]), Type: h.Rrtype, Class: h.Class, TTL: h.Ttl, Data: bytes.Clone(data)}, nil
}

var packBuffers = sync.Pool{New: func() any {
	b := make([]byte, dnswire.MaxName+recordHeaderSize+maxRdata)
	return &b
}}

// packRdata returns rr's rdata in uncompressed wire form, in buf.
func packRdata(rr dns.RR, buf []byte) ([]byte, error) {
	// PackRR writes the length into the header, which is not ours to change.
	h := rr.Header()
	length := h.Rdlength
	defer func() { h.Rdlength = length }()
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	start := dnswire.NameLen(buf) + recordHeaderSize
	if end < start {
		return nil, errNoRecord
	}
	return buf[start:end], nil
}

// aRecord and aaaaRecord hold a record and its address in one allocation.
type aRecord struct {
	rr      dns.A
	address [4]byte
}

type aaaaRecord struct {
	rr      dns.AAAA
	address [16]byte
}

// newRR makes a struct of a record. It packs to the same octets as the record: where the struct of
// its type does not, it is a dns.RFC3597. The result shares nothing with data.
func newRR(owner string, rrtype uint16, ttl uint32, data []byte) dns.RR {
	h := dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl, Rdlength: uint16(len(data))}
	switch {
	case rrtype == dns.TypeA && len(data) == 4:
		r := &aRecord{rr: dns.A{Hdr: h}, address: [4]byte(data)}
		r.rr.A = r.address[:]
		return &r.rr
	case rrtype == dns.TypeAAAA && len(data) == 16 && !isMapped(data):
		r := &aaaaRecord{rr: dns.AAAA{Hdr: h}, address: [16]byte(data)}
		r.rr.AAAA = r.address[:]
		return &r.rr
	}
	return unpackRR(h, data)
}

// isMapped reports whether an IPv6 address is an IPv4 address (RFC 4291 section 2.5.5.2), which
// net.IP does not tell from that.
func isMapped(address []byte) bool {
	const prefix = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
	return string(address[:len(prefix)]) == prefix
}

// unpackRR is a function of its own so that its header alone is allocated on the heap.
func unpackRR(h dns.RR_Header, data []byte) dns.RR {
	if rr, end, err := dns.UnpackRRWithHeader(h, data, 0); err == nil && end == len(data) && (packsExactly(h.Rrtype) || packsTo(rr, data)) {
		return rr
	}
	return &dns.RFC3597{Hdr: h, Rdata: fmt.Sprintf("%x", data)}
}

// packsExactly reports whether valid rdata of a type always comes back the same from its struct,
// so that it need not be compared (BenchmarkRecords). TestStructsPackExactly has the proof.
func packsExactly(rrtype uint16) bool {
	switch rrtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypePTR, dns.TypeMX, dns.TypeSRV, dns.TypeDNAME:
		return true
	}
	return false
}

// packsTo reports whether rr packs to exactly this rdata.
func packsTo(rr dns.RR, data []byte) bool {
	buf := packBuffers.Get().(*[]byte)
	defer packBuffers.Put(buf)
	packed, err := packRdata(rr, *buf)
	return err == nil && bytes.Equal(packed, data)
}
