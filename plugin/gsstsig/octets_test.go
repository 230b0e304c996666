package gsstsig

import (
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// unusual is rdata that miekg/dns cannot unpack, or packs to other octets. BIND 9.18 takes all of it by update.
var unusual = map[string]struct {
	rrtype uint16
	rdata  string
}{
	"NXT":                      {30, "\x01a\x00\x40\x00\x00\x02"},
	"ISDN without subaddress":  {20, "\x05hello"},
	"ISDN, empty subaddress":   {20, "\x05hello\x00"},
	"X25":                      {19, "\x041234"},
	"GPOS of numbers":          {27, "\x0510.50\x0520.50\x0230"},
	"NSAP":                     {22, "\x47\x00\x05\x80\x01\x02"},
	"CAA with a backslash":     {257, "\x00\x05issuea\\b"},
	"URI with a backslash":     {256, "\x00\x01\x00\x01a\\b\"c"},
	"AMTRELAY without relay":   {260, "\x0a\x00"},
	"AMTRELAY, D and IPv4":     {260, "\x0a\x81\xcb\x00\x71\x0f"},
	"AMTRELAY, D and no relay": {260, "\x0a\x80"},
	"AAAA of an IPv4 address":  {28, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01"},
	"type 65535":               {65535, "\x01\x02"},
	"a type without a name":    {65280, "\x00\xff\\"},
	"NULL, empty":              {10, ""},
}

// TestUnusualRecords: records that miekg/dns cannot represent are stored by an update and come back as the same octets, by a
// query past the plugins and through them, and by AXFR.
func TestUnusualRecords(t *testing.T) {
	standard.Requires(t, "RFC 3597", "3 opaque", "6 comparison")
	for _, plugins := range []string{"", "log"} {
		t.Run("with plugins "+plugins, func(t *testing.T) {
			s := start(t, `example.test:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
		grant * subdomain example.test ANY
	}
	transfer {
		to *
	}
	`+plugins+`
}
`)
			host := s.context("host/client1.example.test")
			stored := make(map[string]string)
			for what, r := range unusual {
				name := strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(what)) + ".example.test."
				m := new(dns.Msg).SetUpdate("example.test.")
				m.Ns = []dns.RR{
					// Records of the usual kind stand beside it.
					&dns.A{Hdr: dns.RR_Header{Name: "host." + name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: []byte{192, 0, 2, 1}},
					&dns.RFC3597{Hdr: dns.RR_Header{Name: name, Rrtype: r.rrtype, Class: dns.ClassINET, Ttl: 300}, Rdata: hex.EncodeToString([]byte(r.rdata))},
				}
				want(t, "adding "+what, s.signed(host, m), dns.RcodeSuccess)
				// A prerequisite and a deletion by value read the same octets.
				m = new(dns.Msg).SetUpdate("example.test.")
				m.Answer = []dns.RR{&dns.RFC3597{Hdr: dns.RR_Header{Name: name, Rrtype: r.rrtype, Class: dns.ClassINET}, Rdata: hex.EncodeToString([]byte(r.rdata))}}
				if r.rdata != "" { // miekg/dns packs none
					want(t, "requiring "+what, s.signed(host, m), dns.RcodeSuccess)
				}
				key := fmt.Sprintf("%s %d", name, r.rrtype)
				stored[key] = r.rdata
				for _, network := range []string{"udp", "tcp"} {
					wire, err := new(dns.Msg).SetQuestion(name, r.rrtype).Pack()
					if err != nil {
						t.Fatal(err)
					}
					got := make(map[string]string)
					s.records(network, wire, got)
					if !maps.Equal(got, map[string]string{key: r.rdata}) {
						t.Errorf("%s by %s: got %q, want %q", what, network, got, r.rdata)
					}
				}
			}
			axfr, err := new(dns.Msg).SetAxfr("example.test.").Pack()
			if err != nil {
				t.Fatal(err)
			}
			transferred := make(map[string]string)
			s.records("tcp", axfr, transferred)
			for key, rdata := range stored {
				if got, ok := transferred[key]; !ok || got != rdata {
					t.Errorf("%s by AXFR: got %q, want %q", key, got, rdata)
				}
			}
		})
	}
}

// records sends a query and adds the rdata of the answer section to found, by "NAME TYPE". A transfer ends with the second SOA.
func (s *coredns) records(network string, query []byte, found map[string]string) {
	s.t.Helper()
	conn, err := dns.DialTimeout(network, s.address, 10*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.Write(query); err != nil {
		s.t.Fatal(err)
	}
	for soa := 0; ; {
		octets, err := conn.ReadMsgHeader(nil)
		if err != nil {
			s.t.Fatal(err)
		}
		walker, err := dnswire.NewWalker(octets)
		if err != nil {
			s.t.Fatal(err)
		}
		var r dnswire.Record
		for walker.Next(&r) {
			if r.Section != dnswire.Answers {
				continue
			}
			owner, err := walker.AppendOwner(nil, &r)
			if err != nil {
				s.t.Fatal(err)
			}
			rdata, err := walker.AppendRdata(nil, &r)
			if err != nil {
				s.t.Fatal(err)
			}
			found[fmt.Sprintf("%s %d", dnswire.NameText(owner), r.Type)] = string(rdata)
			if r.Type == dns.TypeSOA {
				soa++
			}
		}
		if err := walker.Err(); err != nil {
			s.t.Fatal(err)
		}
		if soa != 1 {
			return
		}
	}
}

// TestMalformedUpdates: an update whose records are malformed is FORMERR, with a signature if it has one that verifies,
// whichever section they are in, and also where miekg/dns does not take another record of the message.
func TestMalformedUpdates(t *testing.T) {
	s := start(t, smallCorefile)
	host := s.context("host/client1.example.test")
	raw := func(rrtype uint16, rdata string) dns.RR {
		return &dns.RFC3597{Hdr: dns.RR_Header{Name: "client1.example.test.", Rrtype: rrtype, Class: dns.ClassINET, Ttl: 300}, Rdata: hex.EncodeToString([]byte(rdata))}
	}
	good := raw(30, unusual["NXT"].rdata)
	for what, change := range map[string]func(m *dns.Msg){
		"an address of 3 octets":          func(m *dns.Msg) { m.Ns = []dns.RR{raw(dns.TypeA, "\x01\x02\x03")} },
		"beside a good record":            func(m *dns.Msg) { m.Ns = []dns.RR{good, raw(dns.TypeA, "\x01\x02\x03")} },
		"a prerequisite":                  func(m *dns.Msg) { m.Answer = []dns.RR{raw(dns.TypeISDN, "\x09short")} },
		"an additional record":            func(m *dns.Msg) { m.Extra = []dns.RR{raw(dns.TypeA, "\x01\x02\x03")} },
		"an additional record, good ones": func(m *dns.Msg) { m.Ns, m.Extra = []dns.RR{good}, []dns.RR{raw(dns.TypeMX, "\x01")} },
		"NXT without bitmap":              func(m *dns.Msg) { m.Ns = []dns.RR{raw(30, "\x01a")} },
	} {
		m := new(dns.Msg).SetUpdate("example.test.")
		change(m)
		want(t, what+", signed", s.signed(host, m), dns.RcodeFormatError)
		want(t, what+", unsigned", s.exchange(m).Rcode, dns.RcodeFormatError)
	}
	want(t, "name", s.lookup("client1.example.test.", dns.TypeANY), "")
}
