//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// TestBadSignatures sends what a wrong, late or forgotten signature makes of a message. None of it changes the zone, and
// none of it harms the key (BIND CVE-2017-3142).
func TestBadSignatures(t *testing.T) {
	t.Parallel()
	s := startCoreDNS(t, server.Config{Corefile: secureBlock(), Probe: forwardZone})
	address := s.Address
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: address}, "tcp")
	message := add(t, forwardZone, "signature.example.test. 300 A 192.0.2.41")
	ctx := testContext(t)
	for _, test := range []struct {
		name  string
		send  func(network string) (gssclient.Reply, error)
		error int
		mic   string
		log   string
	}{
		{"wrong MAC", func(network string) (gssclient.Reply, error) {
			return client.Exchange(network, message, gssclient.Misbehaviour{Corrupt: true})
		}, dns.RcodeBadSig, gssclient.MICEmpty, `reason="integrity check failed"`},
		{"an hour late", func(network string) (gssclient.Reply, error) {
			return client.Exchange(network, message, gssclient.Misbehaviour{Skew: -time.Hour})
		}, dns.RcodeBadTime, gssclient.MICOK, "time signed is -1h"},
		{"an hour early", func(network string) (gssclient.Reply, error) {
			return client.Exchange(network, message, gssclient.Misbehaviour{Skew: time.Hour})
		}, dns.RcodeBadTime, gssclient.MICOK, "set the clocks"},
		{"unknown key", func(network string) (gssclient.Reply, error) {
			return client.Exchange(network, message, gssclient.Misbehaviour{KeyName: "nobody.example.test."})
		}, dns.RcodeBadKey, gssclient.MICEmpty, `key="nobody.example.test."`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				from := s.Log().Len()
				reply, err := test.send(network)
				if err != nil {
					t.Fatal(err)
				}
				if reply.Message.Rcode != dns.RcodeNotAuth || reply.TSIGError != test.error || reply.MIC != test.mic {
					t.Errorf("over %s: %s, TSIG error %d, signature %s", network, dns.RcodeToString[reply.Message.Rcode],
						reply.TSIGError, reply.MIC)
				}
				if test.error == dns.RcodeBadTime && len(reply.Message.IsTsig().OtherData) != 2*6 {
					t.Errorf("over %s: the server's time is missing: %q", network, reply.Message.IsTsig().OtherData)
				}
				if err := s.Log().WaitFor(ctx, from, test.log); err != nil {
					t.Errorf("over %s: no line about it: %v", network, err)
				}
			}
		})
	}
	expect(t, address, "signature.example.test", dns.TypeA)

	reply, err := client.Exchange("udp", message, gssclient.Misbehaviour{})
	if err != nil || reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
		t.Fatalf("the key is unusable after that: %+v, %v", reply, err)
	}
	// The same octets again are a replay.
	for _, network := range []string{"udp", "tcp"} {
		from := s.Log().Len()
		reply, err := client.Replay(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Log().WaitFor(ctx, from, `reason="replayed"`); err != nil {
			t.Errorf("a replay over %s: no line about it: %v", network, err)
		}
		if reply.Message.Rcode != dns.RcodeNotAuth || reply.TSIGError != dns.RcodeBadSig {
			t.Errorf("a replay over %s: %s, TSIG error %d", network, dns.RcodeToString[reply.Message.Rcode], reply.TSIGError)
		}
	}
}

// TestKeyLife covers names that are taken, keys that are deleted, and names that the server chooses.
func TestKeyLife(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	who := logIn(t, host1)
	first := negotiated(t, who, gssclient.Config{Server: address, KeyName: "taken.example.test."}, "tcp")
	second := startClient(t, who, gssclient.Config{Server: address, KeyName: "TAKEN.example.test."})
	handshake, err := second.Negotiate("tcp")
	if err != nil {
		t.Fatal(err)
	}
	if handshake.Established || handshake.Error != dns.RcodeBadName {
		t.Errorf("a name that is taken: %+v", handshake)
	}
	message := add(t, forwardZone, "key.example.test. 300 A 192.0.2.51")
	check := func(when string, rcode, tsigError int) {
		t.Helper()
		reply, err := first.Exchange("udp", message, gssclient.Misbehaviour{})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode != rcode || reply.TSIGError != tsigError {
			t.Errorf("%s: %s, TSIG error %d", when, dns.RcodeToString[reply.Message.Rcode], reply.TSIGError)
		}
	}
	check("after another wanted the name", dns.RcodeSuccess, 0)
	reply, err := first.Delete("tcp", gssclient.Misbehaviour{Corrupt: true})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Message.Rcode != dns.RcodeNotAuth {
		t.Errorf("a delete with a wrong MAC: %+v", reply)
	}
	check("after a delete with a wrong MAC", dns.RcodeSuccess, 0)
	if reply, err = first.Delete("tcp", gssclient.Misbehaviour{}); err != nil {
		t.Fatal(err)
	}
	if reply.Message.Rcode != dns.RcodeSuccess || reply.TKEYError != 0 || reply.MIC != gssclient.MICOK {
		t.Errorf("a delete: %+v", reply)
	}
	check("after the delete", dns.RcodeNotAuth, dns.RcodeBadKey)
	if handshake, err = second.Negotiate("udp"); err != nil || !handshake.Established {
		t.Errorf("the name is not free after the delete: %+v, %v", handshake, err)
	}

	chosen := startClient(t, who, gssclient.Config{Server: address, KeyName: "."})
	if handshake, err = chosen.Negotiate("tcp"); err != nil {
		t.Fatal(err)
	}
	if !handshake.Established || handshake.MIC != gssclient.MICOK || handshake.KeyName == "." {
		t.Errorf("no name chosen: %+v", handshake)
	}
}

// TestTKEYForms covers the places, classes and lifetimes that clients use.
func TestTKEYForms(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	who := logIn(t, host1)
	for _, section := range []string{"additional", "answer"} {
		for _, class := range []uint16{dns.ClassANY, dns.ClassINET} {
			for _, lifetime := range []time.Duration{-1, time.Hour, 24 * time.Hour} {
				for _, network := range []string{"udp", "tcp"} {
					client := startClient(t, who, gssclient.Config{
						Server: address, Section: section, Class: class, Lifetime: lifetime,
					})
					handshake, err := client.Negotiate(network)
					if err != nil {
						t.Fatal(err)
					}
					got := handshake.Expiration.Sub(handshake.Inception)
					if !handshake.Established || handshake.MIC != gssclient.MICOK || handshake.Mode != 3 || got != time.Hour {
						t.Errorf("%s, class %d, lifetime %v, %s: %v: %+v", section, class, lifetime, network, got, handshake)
					}
				}
			}
		}
	}
}

// TestTKEYErrors sends TKEY queries that no library would.
func TestTKEYErrors(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	query := func(algorithm string, mode uint16, token string) *dns.Msg {
		m := new(dns.Msg).SetQuestion("bad.example.test.", dns.TypeTKEY)
		m.Question[0].Qclass = dns.ClassANY
		m.Extra = []dns.RR{&dns.TKEY{
			Hdr:       dns.RR_Header{Name: "bad.example.test.", Rrtype: dns.TypeTKEY, Class: dns.ClassANY},
			Algorithm: algorithm, Mode: mode, Key: token, KeySize: uint16(len(token) / 2),
		}}
		return m
	}
	for _, test := range []struct {
		name  string
		query *dns.Msg
		rcode int
		error uint16
	}{
		{"unknown algorithm", query("hmac-sha256.", 3, "00"), dns.RcodeSuccess, dns.RcodeBadAlg},
		{"Diffie-Hellman", query("gss-tsig.", 2, "00"), dns.RcodeSuccess, dns.RcodeBadMode},
		{"empty token", query("gss-tsig.", 3, ""), dns.RcodeSuccess, dns.RcodeBadKey},
		{"garbage", query("gss-tsig.", 3, "60820350deadbeef"), dns.RcodeSuccess, dns.RcodeBadKey},
		{"NTLM", query("gss.microsoft.com.", 3, "4e544c4d5353500001000000"), dns.RcodeSuccess, dns.RcodeBadKey},
		{"no record", new(dns.Msg).SetQuestion("bad.example.test.", dns.TypeTKEY), dns.RcodeFormatError, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				reply := exchange(t, address, network, test.query)
				if reply.Rcode != test.rcode {
					t.Errorf("over %s: %s", network, dns.RcodeToString[reply.Rcode])
				}
				if test.rcode != dns.RcodeSuccess {
					continue
				}
				if len(reply.Answer) != 1 || reply.Answer[0].Header().Rrtype != dns.TypeTKEY {
					t.Fatalf("over %s: no TKEY record in the answer: %s", network, reply)
				}
				if got := reply.Answer[0].(*dns.TKEY).Error; got != test.error {
					t.Errorf("over %s: TKEY error %d, want %d", network, got, test.error)
				}
			}
		})
	}
}

// TestBadUpdates sends signed updates that RFC 2136 wants refused. Each answer is signed, and nothing changes.
func TestBadUpdates(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: address}, "tcp")
	record := "bad.example.test. 300 A 192.0.2.61"
	with := func(change func(*dns.Msg)) *dns.Msg {
		m := add(t, forwardZone, record)
		change(m)
		return m
	}
	absent := &dns.ANY{Hdr: dns.RR_Header{Name: "absent.example.test."}}
	present := &dns.ANY{Hdr: dns.RR_Header{Name: "example.test.", Rrtype: dns.TypeSOA}}
	before := serial(t, address, forwardZone)
	for _, test := range []struct {
		name    string
		message *dns.Msg
		rcode   int
	}{
		{"name outside the zone", with(func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "other.test. 300 A 192.0.2.61")}) }), dns.RcodeNotZone},
		{"zone below the server's", with(func(m *dns.Msg) { m.Question[0].Name = "below.example.test." }), dns.RcodeNotAuth},
		{"zone served elsewhere", with(func(m *dns.Msg) { m.Question[0].Name = "other.test." }), dns.RcodeNotAuth},
		{"zone section asks for another type", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }), dns.RcodeFormatError},
		{"zone of class ANY", with(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), dns.RcodeFormatError},
		{"zone of class NONE", with(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassNONE }), dns.RcodeNotAuth},
		{"zone of class CH", with(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeNotAuth},
		{"class of the update", with(func(m *dns.Msg) { m.Ns[0].Header().Class = dns.ClassCHAOS }), dns.RcodeFormatError},
		{"TTL in a deletion", with(func(m *dns.Msg) {
			m.RemoveRRset([]dns.RR{rr(t, record)})
			m.Ns[1].Header().Ttl = 1
		}), dns.RcodeFormatError},
		{"name must be used", with(func(m *dns.Msg) { m.NameUsed([]dns.RR{absent}) }), dns.RcodeNameError},
		{"name must not be used", with(func(m *dns.Msg) { m.NameNotUsed([]dns.RR{present}) }), dns.RcodeYXDomain},
		{"set must exist", with(func(m *dns.Msg) { m.RRsetUsed([]dns.RR{rr(t, "absent.example.test. 0 A 192.0.2.1")}) }), dns.RcodeNXRrset},
		{"set must not exist", with(func(m *dns.Msg) { m.RRsetNotUsed([]dns.RR{present}) }), dns.RcodeYXRrset},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				reply, err := client.Exchange(network, test.message, gssclient.Misbehaviour{})
				if err != nil {
					t.Fatal(err)
				}
				if reply.Message.Rcode != test.rcode || reply.MIC != gssclient.MICOK {
					t.Errorf("over %s: %s, signature %s; want %s, ok", network, dns.RcodeToString[reply.Message.Rcode], reply.MIC,
						dns.RcodeToString[test.rcode])
				}
			}
		})
	}
	expect(t, address, "bad.example.test", dns.TypeA)
	if after := serial(t, address, forwardZone); after != before {
		t.Errorf("the serial went from %d to %d", before, after)
	}
}
