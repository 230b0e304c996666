package zone

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func equalRecords(a, b store.Record) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Class == b.Class && a.TTL == b.TTL && bytes.Equal(a.Data, b.Data)
}

// A struct packs to the octets that it was made of, or is one of RFC 3597.
func TestStructsPackExactly(t *testing.T) {
	name := "\x08My \x00\xff\\.\"\x07EXAMPLE\x04test\x00"
	numbers := "\x00\x01\x02\x03\xfc\xfd\xfe\xff\x00\x01\x02\x03\xfc\xfd\xfe\xff\x00\x01\x02\x03"
	for _, tc := range []struct {
		rrtype  uint16
		data    string
		generic bool
	}{
		{dns.TypeA, "\xc0\x00\x02\x01", false},
		{dns.TypeAAAA, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", false},
		{dns.TypeAAAA, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01", false},
		{dns.TypeNS, name, false},
		{dns.TypeCNAME, name, false},
		{dns.TypePTR, name, false},
		{dns.TypeDNAME, name, false},
		{dns.TypeNS, "\x00", false},
		{dns.TypeMX, "\xff\x01" + name, false},
		{dns.TypeSRV, "\x00\x01\x02\x03\xfe\xff" + name, false},
		{dns.TypeSOA, name + "\x00" + numbers, false},
		{dns.TypeTXT, "\x00\x03a\"\\\x02\x00\xff", false},
		{dns.TypeCAA, "\x00\x05issuea\\b", true},
		{dns.TypeISDN, "\x04addr", true},
		{dns.TypeAMTRELAY, "\x0a\x81\xcb\x00\x71\x0f", false},
		{dns.TypeURI, "\x00\x0a\x00\x01a\\b", true},
		{65280, "\x00\x01", true},
		{65535, "", true},
	} {
		rr := newRR("a.example.test.", tc.rrtype, 300, []byte(tc.data))
		r, err := RecordOf(rr)
		if err != nil || r.Type != tc.rrtype || string(r.Data) != tc.data || r.TTL != 300 {
			t.Errorf("%s %x: %v: %+v, %v", dns.Type(tc.rrtype), tc.data, rr, r, err)
		}
		if _, generic := rr.(*dns.RFC3597); tc.generic && !generic {
			t.Errorf("%s %x: %T", dns.Type(tc.rrtype), tc.data, rr)
		}
	}
}

// BenchmarkRecords makes structs of records. What it costs to compare one with the record's octets
// is spared for the types of packsExactly.
func BenchmarkRecords(b *testing.B) {
	target := "\x07host123\x07example\x04test\x00"
	for _, r := range []struct {
		rrtype uint16
		data   string
	}{
		{dns.TypeA, "\xc0\x00\x02\x01"},
		{dns.TypePTR, target},
		{dns.TypeSRV, "\x00\x00\x00\x64\x01\x85" + target},
		{dns.TypeTXT, "\x10v=spf1 mx a -all"},
	} {
		data := []byte(r.data)
		b.Run(dns.Type(r.rrtype).String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newRR("a.example.test.", r.rrtype, 300, data)
			}
		})
		if !packsExactly(r.rrtype) {
			continue
		}
		b.Run(dns.Type(r.rrtype).String()+", compared", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !packsTo(newRR("a.example.test.", r.rrtype, 300, data), data) {
					b.Fatal("other octets")
				}
			}
		})
	}
}

func TestRecordOfWhatIsNone(t *testing.T) {
	for _, rr := range []dns.RR{
		nil,
		&dns.NS{Hdr: dns.RR_Header{Name: "relative", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a."},
		&dns.NS{Hdr: dns.RR_Header{Name: "a..b.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a."},
		&dns.NS{Hdr: dns.RR_Header{Name: "a.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a..b."},
	} {
		if r, err := RecordOf(rr); err == nil {
			t.Errorf("%v: %+v", rr, r)
		}
	}
}
