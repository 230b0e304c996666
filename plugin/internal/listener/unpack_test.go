package listener

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// nxt is a record that miekg/dns cannot unpack.
func nxt(owner string) dns.RR {
	return &dns.RFC3597{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeNXT, Class: dns.ClassINET, Ttl: 300, Rdlength: 7}, Rdata: "01610040000002"}
}

// update makes an UPDATE with records in all sections.
func update(t testing.TB, zone string, records ...dns.RR) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetUpdate(zone)
	for _, text := range []string{"a." + zone + " 300 IN A 192.0.2.1", "b." + zone + ` 300 IN TXT "b\\" "\255"`, "c." + zone + " 300 IN SRV 0 0 88 a." + zone} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Insert([]dns.RR{rr})
		m.RemoveName([]dns.RR{rr})
	}
	m.NameNotUsed(m.Ns[:1])
	m.Ns = append(m.Ns, records...)
	m.SetEdns0(1232, true)
	return m
}

// TestUnpackUpdate: what Unpack takes comes out the same, and the records that it does not take are dns.RFC3597.
func TestUnpackUpdate(t *testing.T) {
	plain := update(t, "example.org.")
	plain.Compress = true
	signed, _, err := dns.TsigGenerate(update(t, "example.org.").SetTsig(keyName, dns.HmacSHA256, 300, 1), keySecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	for what, wire := range map[string][]byte{"compressed": wireOf(t, plain), "signed": signed} {
		want := new(dns.Msg)
		if err := want.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		got, err := unpackUpdate(wire)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, got:\n%v\nwant:\n%v", what, err, got, want)
		}
	}

	wire := wireOf(t, update(t, "example.org.", nxt("n.example.org.")))
	if new(dns.Msg).Unpack(wire) == nil {
		t.Fatal("Unpack takes NXT")
	}
	got, err := unpackUpdate(wire)
	if err != nil {
		t.Fatal(err)
	}
	if last := got.Ns[len(got.Ns)-1]; !reflect.DeepEqual(last, nxt("n.example.org.")) {
		t.Errorf("got %v", last)
	}
	if again := wireOf(t, got); !slices.Equal(again, wire) {
		t.Errorf("packed to\n%x, want\n%x", again, wire)
	}
	for n := range wire {
		if _, err := unpackUpdate(wire[:n]); err == nil {
			t.Errorf("%d octets of %d are taken", n, len(wire))
		}
	}
}

// TestUpdatesNotUnpacked: a block that uses gsstsig gets an UPDATE with records that CoreDNS cannot unpack, another one
// answers FORMERR as CoreDNS does, before the plugin of the zone.
func TestUpdatesNotUnpacked(t *testing.T) {
	port := freePort(t)
	start(t, fmt.Sprintf(`
		example.org:%[1]s {
			bind 127.0.0.1
			probe a
		}
		dyn.test:%[1]s {
			bind 127.0.0.1
			%[2]s
			status updates
		}`, port, tsigBlock))
	for zone, rcode := range map[string]int{"example.org.": dns.RcodeSuccess, "dyn.test.": dns.RcodeFormatError, "elsewhere.test.": dns.RcodeNotAuth} {
		m := update(t, zone, nxt("n."+zone))
		for _, network := range networks {
			m.Id = dns.Id()
			expect(t, ask(t, network, local(port), signed(m.Copy())), rcode, "", true)
		}
	}
	for _, network := range networks {
		expect(t, ask(t, network, local(port), signed(update(t, "dyn.test."))), dns.RcodeSuccess, "verified", true)
	}
}
