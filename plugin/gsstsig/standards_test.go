package gsstsig

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// TestHeaderOfUpdateReplies: the reply has the request's ID and opcode, QR, and no other bits of the header, whatever bits the
// request has.
func TestHeaderOfUpdateReplies(t *testing.T) {
	standard.Requires(t, "RFC 2136", "2.1 transport", "2.2 ID", "2.2 opcode", "2.2 zero Z", "2.2 other Z", "3.8 counts", "3.8 QR")
	s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nupdates nonsecure-and-secure", 1))
	n := 0
	for what, test := range map[string]struct {
		change func(m *dns.Msg)
		rcode  int
	}{
		"done":           {func(*dns.Msg) {}, dns.RcodeSuccess},
		"not met":        {func(m *dns.Msg) { m.NameUsed([]dns.RR{m.Ns[0]}) }, dns.RcodeNameError},
		"not permitted":  {func(m *dns.Msg) { m.Ns[0].Header().Name = "*.example.test." }, dns.RcodeRefused},
		"malformed":      {func(m *dns.Msg) { m.Ns[0].Header().Rrtype = dns.TypeAXFR }, dns.RcodeFormatError},
		"not our zone":   {func(m *dns.Msg) { m.Question[0].Name = "sub.example.test." }, dns.RcodeNotAuth},
		"not in it":      {func(m *dns.Msg) { m.Ns[0].Header().Name = "example.org." }, dns.RcodeNotZone},
		"two zones":      {func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		"no zone at all": {func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
	} {
		for _, network := range []string{"udp", "tcp"} {
			for _, z := range []uint16{0, 0x07F0} {
				n++
				m := message(t, "example.test.", fmt.Sprintf("+h%d.example.test. 300 A 192.0.2.1", n))
				test.change(m)
				request, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				request[2] |= byte(z >> 8)
				request[3] |= byte(z)
				what := fmt.Sprintf("%s, by %s, Z %04x", what, network, z)
				reply := s.exchangeOctets(network, request)
				want(t, what+", rcode", dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
				header := s.octetsOf(reply)
				want(t, what+", ID", [2]byte(header[:2]), [2]byte(request[:2]))
				want(t, what+", QR, opcode, no flags", header[2], 0x80|dns.OpcodeUpdate<<3)
				want(t, what+", no flags, rcode", header[3], byte(test.rcode))
				counts := [4]int{len(reply.Question), len(reply.Answer), len(reply.Ns), len(reply.Extra)}
				if counts != [4]int{} && counts != [4]int{1, 0, 0, 0} {
					t.Errorf("%s: sections with %v records", what, counts)
				}
				if test.rcode == dns.RcodeSuccess {
					want(t, what+", the record", strings.Contains(s.lookup(fmt.Sprintf("h%d.example.test.", n), dns.TypeA), "192.0.2.1"), true)
				}
			}
		}
	}
}

// octetsOf packs a message that was unpacked just now: miekg keeps all bits of the header but one.
func (s *coredns) octetsOf(m *dns.Msg) []byte {
	s.t.Helper()
	octets, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	return octets
}

// TestBadSignaturesAreLogged: each kind of wrong signature has a line in the log.
func TestBadSignaturesAreLogged(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2.1 log", "5.2.2 log", "5.2.3 log")
	// Other tests have used up the lines that there may be in a while.
	limit := badSignatures.limiter.Limit()
	badSignatures.limiter.SetLimit(rate.Inf)
	t.Cleanup(func() { badSignatures.limiter.SetLimit(limit) })
	const name, secret = "loader.example.test.", "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz"
	s := start(t, strings.Replace(smallCorefile, "gsstsig {", "tsig {\n secret "+name+" "+secret+"\n }\n gsstsig {", 1))
	for result, test := range map[string]struct {
		key  string
		at   time.Time
		flip byte
	}{
		"badkey":  {"unknown.example.test.", time.Now(), 0},
		"badsig":  {name, time.Now(), 1},
		"badtime": {name, time.Now().Add(-time.Hour), 0},
	} {
		line := []string{"signature result=" + result, `key="` + test.key + `"`, "reason=", "fix="}
		before := len(logged.lines(line...))
		m := message(t, "example.test.", "+www.example.test. 300 A 192.0.2.80").SetTsig(test.key, dns.HmacSHA256, 300, test.at.Unix())
		wire, _, err := dns.TsigGenerate(m, secret, "", false)
		if err != nil {
			t.Fatal(err)
		}
		wire[len(wire)-7] ^= test.flip
		want(t, result, s.exchangeOctets("tcp", wire).Rcode, dns.RcodeNotAuth)
		want(t, result+", lines", len(logged.lines(line...))-before, 1)
	}
}
