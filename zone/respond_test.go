package zone

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// beginning is a response as far as the question, and what the query asks for of it.
func beginning(t testing.TB, name string, qtype uint16) (response []byte) {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.Response, q.CheckingDisabled = true, true
	response, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// sameAnswer compares what Respond says with what Lookup does, and returns whether Respond has said
// anything.
func sameAnswer(t testing.TB, s *Snapshot, name string, qtype uint16) bool {
	t.Helper()
	before := beginning(t, name, qtype)
	wire, ok := s.Respond(bytes.Clone(before), dns.MaxMsgSize)
	if !ok {
		if !bytes.Equal(wire, before) {
			t.Errorf("%s %s: changed %x to %x and said no", name, dns.Type(qtype), before, wire)
		}
		return false
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Errorf("%s %s: %v: %x", name, dns.Type(qtype), err, wire)
		return true
	}
	want := s.Lookup(name, qtype)
	if m.Rcode != want.Rcode || m.Authoritative != want.Authoritative {
		t.Errorf("%s %s: %v, Lookup says %d, authoritative %t", name, dns.Type(qtype), m.MsgHdr, want.Rcode, want.Authoritative)
	}
	if len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}) ||
		m.Id != binary.BigEndian.Uint16(before) || !m.Response || !m.RecursionDesired || !m.CheckingDisabled {
		t.Errorf("%s %s: answers %v", name, dns.Type(qtype), m)
	}
	for _, section := range []struct {
		name      string
		got, want []dns.RR
	}{{"answer", m.Answer, want.Answer}, {"authority", m.Ns, want.Authority}, {"additional", m.Extra, want.Additional}} {
		var got, want []string
		for _, rr := range section.got {
			got = append(got, text(rr))
		}
		for _, rr := range section.want {
			want = append(want, text(rr))
		}
		// A name that the message has in front is written like that one.
		if !slices.EqualFunc(got, want, strings.EqualFold) {
			t.Errorf("%s %s: %s %q, Lookup says %q", name, dns.Type(qtype), section.name, got, want)
		}
	}
	return true
}

// TestRespondAsLookup asks for everything in the zone of TestLookup, and for what is not there.
func TestRespondAsLookup(t *testing.T) {
	s := openText(t, lookupZone, nil).Snapshot()
	names := map[string]bool{"example.net.": true, ".": true, "test.": true}
	for rr := range s.Records() {
		for _, prefix := range []string{"", "nothing.", "*.", "a.b.", `\000.`} {
			name := prefix + rr.Header().Name
			if _, ok := dns.IsDomainName(name); ok {
				names[name], names[strings.ToUpper(name)] = true, true
			}
		}
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeMX, dns.TypeSRV, dns.TypeCNAME,
		dns.TypeDNAME, dns.TypeDS, dns.TypeKEY, dns.TypeRRSIG, dns.TypeANY, dns.TypeAXFR, dns.TypeOPT, dns.TypeNone, 65280, 65535}
	said, asked := 0, 0
	for name := range names {
		for _, qtype := range types {
			asked++
			if sameAnswer(t, s, name, qtype) {
				said++
			}
		}
	}
	if said < asked/3 {
		t.Errorf("answers to %d of %d questions", said, asked)
	}
	for name, qtype := range map[string]uint16{
		"host1.example.test.": dns.TypeA, "HOST1.example.TEST.": dns.TypeAAAA, "nothing.example.test.": dns.TypeTXT,
		"example.test.": dns.TypeSOA, "x.host1.example.test.": dns.TypeSOA, "sub.example.test.": dns.TypeDS, "unknown.example.test.": 65280,
	} {
		if !sameAnswer(t, s, name, qtype) {
			t.Errorf("%s %s: no answer", name, dns.Type(qtype))
		}
	}
}

// TestRespondBounds asks for answers that do not fit, and with beginnings that are none.
func TestRespondBounds(t *testing.T) {
	s := openText(t, lookupZone, nil).Snapshot()
	for name, qtype := range map[string]uint16{"host1.example.test.": dns.TypeA, "ns1.example.test.": dns.TypeTXT} {
		whole, ok := s.Respond(beginning(t, name, qtype), dns.MaxMsgSize)
		if !ok {
			t.Fatalf("%s %s: no answer", name, dns.Type(qtype))
		}
		for limit := range len(whole) {
			if _, ok := s.Respond(beginning(t, name, qtype), limit); ok {
				t.Errorf("%s %s: an answer of %d octets within %d", name, dns.Type(qtype), len(whole), limit)
			}
		}
		if _, ok := s.Respond(beginning(t, name, qtype), len(whole)); !ok {
			t.Errorf("%s %s: no answer within its own length", name, dns.Type(qtype))
		}
	}
	whole := beginning(t, "host1.example.test.", dns.TypeA)
	for length := range len(whole) {
		if _, ok := s.Respond(whole[:length:length], dns.MaxMsgSize); ok {
			t.Errorf("an answer to %x", whole[:length])
		}
	}
	pointing := append(bytes.Clone(whole[:headerSize]), 0xC0, 0x0C, 0, 1, 0, 1)
	if _, ok := s.Respond(pointing, dns.MaxMsgSize); ok {
		t.Error("an answer to a compressed question")
	}
}

// FuzzRespond holds what Respond says to any question against Lookup.
func FuzzRespond(f *testing.F) {
	f.Add([]byte("\x05host1\x07example\x04test\x00"), dns.TypeA)
	f.Add([]byte("\x03www\x03sub\x07example\x04test\x00"), dns.TypeAAAA)
	f.Add([]byte("\x01x\x06wcname\x07EXAMPLE\x04test\x00"), dns.TypeCNAME)
	f.Add([]byte("\x02\x00\x01\x07example\x04test\x00"), dns.TypeTXT)
	s := openText(f, lookupZone, nil).Snapshot()
	f.Fuzz(func(t *testing.T, name []byte, qtype uint16) {
		response := make([]byte, headerSize, 512)
		response = append(response, name...)
		response = binary.BigEndian.AppendUint16(response, qtype)
		response = binary.BigEndian.AppendUint16(response, dns.ClassINET)
		if _, ok := s.Respond(bytes.Clone(response), dns.MaxMsgSize); ok {
			sameAnswer(t, s, dnswire.NameText(name), qtype)
		}
	})
}
