package transcript

import (
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
)

func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func TestText(t *testing.T) {
	query := new(dns.Msg).SetQuestion("client1.example.test.", dns.TypeSOA)
	update := new(dns.Msg).SetUpdate("example.test.")
	update.RRsetNotUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: "client1.example.test.", Rrtype: dns.TypeCNAME}}})
	refused := new(dns.Msg).SetRcode(update, dns.RcodeRefused)
	want := &Transcript{
		Client: "a client, version: 1", Principal: "host/client1.example.test@EXAMPLE.TEST",
		Corefile: "example.test:{PORT} {\n    whoami\n}\n",
		Keytab:   []byte(strings.Repeat("\x05\x02", 100)),
		Seed:     "@ IN NS ns1\n",
		Exchanges: []relay.Exchange{
			{Network: "udp", Request: packed(t, query), Reply: packed(t, new(dns.Msg).SetReply(query))},
			{Network: "tcp", Connection: 1, Request: packed(t, update), Reply: packed(t, refused)},
		},
		Zones: []Zone{{Origin: "example.test.", Records: []string{"a.example.test. 60 IN A 192.0.2.1", "b.example.test. 60 IN A 192.0.2.2"}}},
	}
	text := want.Text()
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back %+v, want %+v", got, want)
	}
	for _, line := range []string{
		"-- exchange tcp 1 --", "# QUERY client1.example.test. SOA",
		"# UPDATE example.test. SOA; prerequisites: client1.example.test. NONE CNAME", "# UPDATE reply REFUSED example.test. SOA",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if got, want := strings.Join(got.Outline(), "; "), "tcp UPDATE example.test.: REFUSED"; got != want {
		t.Errorf("outline %q, want %q", got, want)
	}
}

func TestParseErrors(t *testing.T) {
	for _, text := range []string{
		"",
		"-- client --\nnobody\n",
		"-- other --\n-- exchange udp --\n> 00\n",
		"-- exchange tcp x --\n> 00\n",
		"-- exchange udp --\n> 0g\n",
		"-- keytab --\n!\n-- exchange udp --\n> 00\n",
	} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

// TestNoRandom has messages that make no context: nothing was drawn for them.
func TestNoRandom(t *testing.T) {
	query := new(dns.Msg).SetQuestion("key.example.test.", dns.TypeTKEY)
	random, err := Random(nil, query, new(dns.Msg).SetReply(query))
	if err != nil || random != nil {
		t.Errorf("%x, %v", random, err)
	}
	tkey := &dns.TKEY{Hdr: dns.RR_Header{Name: "key.example.test.", Rrtype: dns.TypeTKEY, Class: dns.ClassANY}, Algorithm: "gss-tsig.",
		Inception: 1_800_000_000, Key: "6000", KeySize: 2}
	query.Extra = []dns.RR{tkey}
	reply := new(dns.Msg).SetReply(query)
	reply.Answer = []dns.RR{tkey}
	if random, err := Random(nil, query, reply); err == nil {
		t.Errorf("a token that is none: %x", random)
	}
	if at, ok := Time(reply); !ok || at.Unix() != 1_800_000_000 {
		t.Errorf("the reply tells the time %v, %v", at, ok)
	}
	if at, ok := Time(new(dns.Msg)); ok {
		t.Errorf("a reply without records tells the time %v", at)
	}
}
