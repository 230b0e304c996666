package gsstsig

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
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

// TestHeaderOfAnswers: what of a query's header comes back in its answer, and what of its OPT record, past the plugins and
// through them.
func TestHeaderOfAnswers(t *testing.T) {
	standard.Requires(t, "RFC 1035", "4.1.1 ID", "4.1.1 opcode", "4.1.1 RD", "4.1.1 AA", "4.1.1 Z", "4.1.2 question", "4.2.2 length")
	standard.Requires(t, "RFC 1034", "3.1 case", "4.3.1 recursion")
	standard.Requires(t, "RFC 6891", "6.1.1 OPT in the reply", "6.1.1 without", "6.1.2 unknown options", "6.1.4 DO", "6.1.4 other flags")
	standard.Requires(t, "RFC 4343", "4.1 output")
	const recursionDesired, aa, checkingDisabled = 0x0100, 0x0400, 0x0010
	for _, corefile := range []string{smallCorefile, strings.Replace(smallCorefile, "\tlog\n", "", 1)} {
		s := start(t, corefile)
		for _, network := range []string{"udp", "tcp"} {
			for _, flags := range []uint16{0, recursionDesired, checkingDisabled, recursionDesired | checkingDisabled, 0x0020, 0x0040, 0x0080 | recursionDesired} {
				for _, edns := range []uint32{0, 1, 0x8001, 0x7FFF} { // in the high bit, DO; 1 stands for no flag
					m := new(dns.Msg).SetQuestion("nS1.eXAMPLE.test.", dns.TypeA)
					if edns != 0 {
						m.SetEdns0(1232, false)
						m.IsEdns0().Hdr.Ttl = edns &^ 1
						if edns > 1 {
							m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("what is this")}}
						}
					}
					query, err := m.Pack()
					if err != nil {
						t.Fatal(err)
					}
					binary.BigEndian.PutUint16(query[2:], flags)
					reply := s.exchangeOctets(network, query)
					what := fmt.Sprintf("by %s, flags %04x, EDNS flags %04x", network, flags, edns)
					header := s.octetsOf(reply)
					want(t, what+", ID", [2]byte(header[:2]), [2]byte(query[:2]))
					want(t, what+", flags", binary.BigEndian.Uint16(header[2:]), 0x8000|aa|flags&(recursionDesired|checkingDisabled))
					if len(reply.Question) != 1 || reply.Question[0] != m.Question[0] || len(reply.Answer) != 1 {
						t.Errorf("%s: got\n%v", what, reply)
						continue
					}
					// The name of a record is the zone's own.
					want(t, what+", name", strings.EqualFold(reply.Answer[0].Header().Name, "ns1.example.test."), true)
					opt := reply.IsEdns0()
					want(t, what+", OPT", opt != nil, edns != 0)
					if opt != nil {
						want(t, what+", EDNS version and flags", opt.Hdr.Ttl, edns&0x8000)
						want(t, what+", options", len(opt.Option), 0)
					}
				}
			}
		}
		s.stop()
	}
}

// TestContentOfTransfers: a transfer has each record of the zone once and as it is, also what no query gets, and nothing else.
func TestContentOfTransfers(t *testing.T) {
	standard.Requires(t, "RFC 5936", "2.2 ends", "2.2.1 header", "2.2.2 question", "2.2.4 authority", "2.2.5 additional",
		"3.1 once", "3.2 delegations", "3.3 glue", "3.4 case", "3.5 occluded names", "4.1 TCP")
	lines := []string{
		"example.test. 300 IN SOA ns1.example.test. hostmaster.example.test. 7 3600 600 86400 60",
		"example.test. 300 IN NS ns1.example.test.",
		"ns1.example.test. 300 IN A 192.0.2.1",
		"Child.example.test. 60 IN NS nS.Child.example.test.",
		"Child.example.test. 60 IN NS ns.elsewhere.test.",
		"nS.Child.example.test. 61 IN A 192.0.2.2",       // glue
		"www.Child.example.test. 62 IN A 192.0.2.3",      // below a cut
		"deep.er.Child.example.test. 62 IN NS ns1.test.", // a cut below a cut
		"tree.example.test. 300 IN DNAME other.test.",
		"below.tree.example.test. 300 IN TXT \"hidden\"", // below a DNAME
		"*.wild.example.test. 300 IN MX 10 MAIL.example.test.",
		"alias.example.test. 0 IN CNAME ns1.example.test.",
	}
	for i := range 600 {
		lines = append(lines, fmt.Sprintf("H%d.example.test. 300 IN TXT %q", i, strings.Repeat("x", 200)))
	}
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, strings.Replace(transferCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tfile "+seed, 1))
	conn, err := dns.DialTimeout("tcp", s.address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	for range 2 { // two by one connection, and a query behind them
		query := new(dns.Msg).SetAxfr("example.test.")
		query.SetEdns0(1232, false)
		if err := conn.WriteMsg(query); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int)
		messages, last := 0, ""
		for soas := 0; soas < 2; messages++ {
			m, err := conn.ReadMsg()
			if err != nil {
				t.Fatal(err)
			}
			header := s.octetsOf(m)
			want(t, "ID", m.Id, query.Id)
			want(t, "flags", binary.BigEndian.Uint16(header[2:]), 0x8400)
			if len(m.Question) > 1 || messages == 0 && len(m.Question) == 0 || len(m.Question) == 1 && m.Question[0] != query.Question[0] ||
				len(m.Answer) == 0 || len(m.Ns) > 0 {
				t.Fatalf("message %d:\n%v", messages, m)
			}
			if len(m.Extra) != 1 || m.IsEdns0() == nil {
				t.Errorf("message %d: additional section %v", messages, m.Extra)
			}
			for i, rr := range m.Answer {
				last = strings.Join(strings.Fields(rr.String()), " ")
				if messages == 0 && i == 0 {
					want(t, "the first", last, lines[0])
				}
				if rr.Header().Rrtype == dns.TypeSOA {
					soas++
				}
				got[last]++
			}
		}
		want(t, "the last", last, lines[0])
		if messages < 2 {
			t.Errorf("%d messages", messages)
		}
		for i, line := range lines {
			times := 1
			if i == 0 {
				times = 2
			}
			want(t, line, got[line], times)
			delete(got, line)
		}
		if len(got) > 0 {
			t.Errorf("not of the zone: %v", got)
		}
	}
	if err := conn.WriteMsg(new(dns.Msg).SetQuestion("ns1.example.test.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if reply, err := conn.ReadMsg(); err != nil || len(reply.Answer) != 1 {
		t.Errorf("a query behind them: %v, %v", reply, err)
	}
}

// TestTransferOfOneVersion: what changes while a transfer is under way is not in it.
func TestTransferOfOneVersion(t *testing.T) {
	standard.Requires(t, "RFC 5936", "2.2 one version", "6 integrity")
	var seed strings.Builder
	seed.WriteString("@ 300 IN SOA ns1 hostmaster 7 3600 600 86400 60\n@ 300 IN NS ns1\n")
	for i := range 3 * transferBatch {
		fmt.Fprintf(&seed, "h%d 300 IN TXT a\n", i)
	}
	z, err := zone.Open(zone.Config{Origin: "example.test.", Store: store.NewMemory(store.MemoryOptions{}), Seed: func() ([]store.Record, error) {
		return zone.ParseSeed(strings.NewReader(seed.String()), zone.SeedConfig{Origin: "example.test."})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	served := new(servedZone)
	served.zone.Store(z)
	records, err := (&Handler{zones: map[string]*servedZone{"example.test.": served}}).Transfer("example.test.", 0)
	if err != nil {
		t.Fatal(err)
	}
	transferred := <-records
	m := message(t, "example.test.", "+later.example.test. 300 A 192.0.2.1", "-h1.example.test. TXT")
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if r := z.Apply(t.Context(), &zone.Update{Message: wire}); r.Rcode != dns.RcodeSuccess || !r.Changed {
		t.Fatalf("%+v", r)
	}
	for batch := range records {
		transferred = append(transferred, batch...)
	}
	want(t, "records", len(transferred), 3*transferBatch+3)
	for _, rr := range transferred {
		if soa, ok := rr.(*dns.SOA); ok {
			want(t, "serial", soa.Serial, 7)
		}
		if rr.Header().Name == "later.example.test." {
			t.Error("a later record is among them")
		}
	}
}

// TestNotifyAfterUpdate: a secondary is told of a change, and again if it does not answer.
func TestNotifyAfterUpdate(t *testing.T) {
	standard.Requires(t, "RFC 1996", "3.1 change", "3.6 repeated", "3.7 message", "3.11 SOA")
	secondary, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer secondary.Close()
	s := start(t, strings.Replace(transferCorefile, "to *", "to "+secondary.LocalAddr().String(), 1))
	want(t, "update", s.signed(s.context("host/client1.example.test"), message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	if err := secondary.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var ids []uint16
	for len(ids) < 2 { // the first one is not answered
		octets := make([]byte, 4096)
		n, from, err := secondary.ReadFrom(octets)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(octets[:n]); err != nil {
			t.Fatal(err)
		}
		want(t, "QR, opcode, AA, no other flags", binary.BigEndian.Uint16(octets[2:]), uint16(dns.OpcodeNotify<<11|0x0400))
		if len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: "example.test.", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) {
			t.Errorf("got\n%v", m)
		}
		if ids = append(ids, m.Id); len(ids) == 2 {
			reply, err := new(dns.Msg).SetReply(m).Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := secondary.WriteTo(reply, from); err != nil {
				t.Fatal(err)
			}
		}
	}
	want(t, "ID of the second", ids[1], ids[0])
}

// TestCompressionOfData: names are compressed in the data of types of RFC 1035 alone.
func TestCompressionOfData(t *testing.T) {
	standard.Requires(t, "RFC 3597", "4 no compression")
	lines := []string{
		"@ 300 IN SOA ns1 hostmaster 1 3600 600 86400 60", "@ 300 IN NS ns1", "ns1 300 IN A 192.0.2.1",
		"x 300 IN SRV 0 0 1 ns1", "x 300 IN RP ns1 ns1", "x 300 IN AFSDB 1 ns1", "x 300 IN RT 1 ns1", "x 300 IN KX 1 ns1", "x 300 IN PX 1 ns1 ns1",
		"x 300 IN NAPTR 0 0 \"\" \"\" \"\" ns1", "x 300 IN SVCB 1 ns1", "x 300 IN LP 1 ns1", "x 300 IN TALINK ns1 ns1", "x 300 IN TYPE65280 \\# 2 c00c",
		"tree 300 IN DNAME ns1",
	}
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(transferCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tfile "+seed, 1)
	for _, corefile := range []string{with, strings.Replace(with, "\ttransfer", "\tlog\n\ttransfer", 1)} {
		s := start(t, corefile)
		for _, question := range []struct {
			network, name string
			qtype         uint16
			records       int
		}{
			{"udp", "x.example.test.", dns.TypeANY, 11},
			{"tcp", "x.example.test.", dns.TypeANY, 11},
			{"udp", "a.tree.example.test.", dns.TypeTXT, 2},
			{"tcp", "example.test.", dns.TypeAXFR, 16},
		} {
			conn, err := dns.DialTimeout(question.network, s.address, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			conn.UDPSize = 4096
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			m := new(dns.Msg).SetQuestion(question.name, question.qtype)
			m.SetEdns0(1232, false)
			if err := conn.WriteMsg(m); err != nil {
				t.Fatal(err)
			}
			octets, err := conn.ReadMsgHeader(nil)
			conn.Close()
			if err != nil {
				t.Fatal(err)
			}
			walker, err := dnswire.NewWalker(octets)
			if err != nil {
				t.Fatal(err)
			}
			var r dnswire.Record
			records := 0
			for walker.Next(&r) {
				if r.Section != dnswire.Answers {
					continue
				}
				records++
				switch r.Type {
				case dns.TypeSOA, dns.TypeNS, dns.TypeCNAME:
					continue
				}
				whole, err := walker.AppendRdata(nil, &r)
				if r.Type == 65280 {
					whole, err = []byte("\xc0\x0c"), nil // which looks like a pointer
				}
				if err != nil || !bytes.Equal(octets[r.RdataStart:r.RdataEnd], whole) {
					t.Errorf("%s %s by %s: data of type %s are %x", question.name, dns.Type(question.qtype), question.network, dns.Type(r.Type), octets[r.RdataStart:r.RdataEnd])
				}
			}
			want(t, question.name+" "+dns.Type(question.qtype).String()+" by "+question.network, records, question.records)
		}
		s.stop()
	}
}

// TestTransfersOnOneConnection: what comes by one connection of TLS is answered, whether or not the client waits for the answer
// before.
func TestTransfersOnOneConnection(t *testing.T) {
	standard.Requires(t, "RFC 9103", "6 OPT in each message", "6 several transfers", "7.6 SOA queries")
	standard.Deviates(t, "RFC 9103", "6 keepalive", "The option is ignored, as other options that are not known: the property timeouts says how "+
		"long a connection stays open.")
	dot := freeAddress(t)
	_, port, err := net.SplitHostPort(dot)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := certificateFiles(t)
	start(t, fmt.Sprintf("tls://example.test:%s {\n bind 127.0.0.1\n tls %s %s\n gsstsig {\n  keytab {KEYTAB}\n }\n transfer {\n  to *\n }\n}\n",
		port, certificate, key))
	secured, err := tls.Dial("tcp", dot, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	defer secured.Close()
	secured.SetDeadline(time.Now().Add(20 * time.Second))
	conn := &dns.Conn{Conn: secured}
	records := make(map[uint16]int) // by ID
	wanted := map[uint16]int{1: 4, 2: 1, 3: 4, 4: 1}
	for id, m := range []*dns.Msg{
		1: new(dns.Msg).SetAxfr("example.test."),
		2: new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA),
		3: new(dns.Msg).SetAxfr("example.test."),
		4: new(dns.Msg).SetIxfr("example.test.", 1, "ns1.example.test.", "hostmaster.example.test."),
	} {
		if m == nil {
			continue
		}
		m.Id = uint16(id)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}}
		if err := conn.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for !maps.Equal(records, wanted) {
		m, err := conn.ReadMsg()
		if err != nil {
			t.Fatalf("%v: records by ID %v, want %v", err, records, wanted)
		}
		if opt := m.IsEdns0(); opt == nil || len(opt.Option) > 0 {
			t.Errorf("answer %d: OPT %v", m.Id, opt)
		}
		records[m.Id] += len(m.Answer)
	}
}
