package gsstsig

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/coredns/coredns/plugin/acl"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// followZones are the zones of TestFollow: those of one block, then those of others.
var followZones = map[string]string{
	"example.test": `al CNAME a.sub
alnone CNAME gone.sub
chain CNAME c.sub
loop CNAME loop.sub
tree DNAME sub
other CNAME www.dept
otherfile CNAME www.file
otherloop CNAME loop.dept
fileloop CNAME loop.file
fwd CNAME www.forwarded.test.
fwdnone CNAME gone.forwarded.test.
fwdfail CNAME fail.forwarded.test.
unserved CNAME www.unserved.test.
dc1 A 192.0.2.10
`,
	"sub.example.test": `a A 192.0.2.1
c CNAME guid._msdcs.example.test.
loop CNAME loop.example.test.
`,
	"_msdcs.example.test":        "guid CNAME dc1.example.test.\n",
	"2.0.192.in-addr.arpa":       "5 CNAME 5.0-127\n",
	"0-127.2.0.192.in-addr.arpa": "5 PTR dc1.example.test.\n",

	"dept.example.test": `www A 192.0.2.2
loop CNAME otherloop.example.test.
`,
	"file.example.test": `www A 192.0.2.3
loop CNAME fileloop.example.test.
`,
}

// startFollow starts a server with these zones: a block of five, one of another gsstsig, one of the file plugin, and one that
// forwards.
func startFollow(t *testing.T, plugins string) *coredns {
	t.Helper()
	directory := t.TempDir()
	file := func(origin string) string {
		name := filepath.Join(directory, origin)
		text := "$TTL 300\n$ORIGIN " + origin + ".\n@ SOA ns.example.com. hostmaster.example.com. 1 3600 600 86400 60\n@ NS ns.example.com.\n" + followZones[origin]
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	own := []string{"example.test", "sub.example.test", "_msdcs.example.test", "2.0.192.in-addr.arpa", "0-127.2.0.192.in-addr.arpa"}
	var files strings.Builder
	for _, origin := range own {
		fmt.Fprintf(&files, "  file %s %s\n", file(origin), origin)
	}
	return start(t, fmt.Sprintf(`%s:{PORT} {
 bind 127.0.0.1
 %s
 gsstsig {
  keytab {KEYTAB}
%s }
}
dept.example.test:{PORT} {
 bind 127.0.0.1
 gsstsig {
  keytab {KEYTAB}
  file %s
 }
}
file.example.test:{PORT} {
 bind 127.0.0.1
 file %s
}
forwarded.test:{PORT} {
 bind 127.0.0.1
 forward . %s
}
`, strings.Join(own, ":{PORT} "), plugins, files.String(), file("dept.example.test"), file("file.example.test"), startStub(t)))
}

// startStub starts a server for forwarded.test, of which the name www exists, and whose address is returned.
func startStub(t *testing.T) string {
	t.Helper()
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		name := r.Question[0].Name
		switch strings.SplitN(name, ".", 2)[0] {
		case "www":
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 99)}}
		case "fail":
			m.Rcode = dns.RcodeServerFailure
		default:
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{Listener: stream, Handler: handler}, {PacketConn: packets, Handler: handler}} {
		started, done := make(chan struct{}), make(chan error, 1)
		s.NotifyStartedFunc = func() { close(started) }
		go func() { done <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	return stream.Addr().String()
}

// TestFollow: a CNAME or DNAME that leaves its zone is followed in the nearest zone of the server, and by the server's own plugins
// (RFC 1034 section 4.3.2, step 3a), whichever way the query comes.
func TestFollow(t *testing.T) {
	standard.Requires(t, "RFC 1034", "3.6.2 follow")
	tests := map[string]struct {
		qtype  uint16
		rcode  int
		answer string // the owners and types
	}{
		// Zones of the block.
		"al.example.test.":          {dns.TypeA, dns.RcodeSuccess, "al.example.test. CNAME, a.sub.example.test. A"},
		"alnone.example.test.":      {dns.TypeA, dns.RcodeNameError, "alnone.example.test. CNAME"},
		"a.tree.example.test.":      {dns.TypeA, dns.RcodeSuccess, "tree.example.test. DNAME, a.tree.example.test. CNAME, a.sub.example.test. A"},
		"5.2.0.192.in-addr.arpa.":   {dns.TypePTR, dns.RcodeSuccess, "5.2.0.192.in-addr.arpa. CNAME, 5.0-127.2.0.192.in-addr.arpa. PTR"},
		"guid._msdcs.example.test.": {dns.TypeA, dns.RcodeSuccess, "guid._msdcs.example.test. CNAME, dc1.example.test. A"},
		"chain.example.test.": {dns.TypeA, dns.RcodeSuccess,
			"chain.example.test. CNAME, c.sub.example.test. CNAME, guid._msdcs.example.test. CNAME, dc1.example.test. A"},
		"loop.example.test.": {dns.TypeA, dns.RcodeServerFailure, "loop.example.test. CNAME, loop.sub.example.test. CNAME"},
		// Other blocks.
		"other.example.test.":     {dns.TypeA, dns.RcodeSuccess, "other.example.test. CNAME, www.dept.example.test. A"},
		"otherfile.example.test.": {dns.TypeA, dns.RcodeSuccess, "otherfile.example.test. CNAME, www.file.example.test. A"},
		"otherloop.example.test.": {dns.TypeA, dns.RcodeServerFailure, "otherloop.example.test. CNAME, loop.dept.example.test. CNAME"},
		"fileloop.example.test.":  {dns.TypeA, dns.RcodeServerFailure, "fileloop.example.test. CNAME, loop.file.example.test. CNAME"},
		// Names that no zone holds.
		"fwd.example.test.":      {dns.TypeA, dns.RcodeSuccess, "fwd.example.test. CNAME, www.forwarded.test. A"},
		"fwdnone.example.test.":  {dns.TypeA, dns.RcodeNameError, "fwdnone.example.test. CNAME"},
		"fwdfail.example.test.":  {dns.TypeA, dns.RcodeServerFailure, "fwdfail.example.test. CNAME"},
		"unserved.example.test.": {dns.TypeA, dns.RcodeSuccess, "unserved.example.test. CNAME"},
		"www.dept.example.test.": {dns.TypeA, dns.RcodeSuccess, "www.dept.example.test. A"},
	}
	owners := func(m *dns.Msg) string {
		var text []string
		for _, rr := range m.Answer {
			text = append(text, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype])
		}
		return strings.Join(text, ", ")
	}
	for what, plugins := range map[string]string{"shortcut": "errors", "plugins": "log"} {
		t.Run(what, func(t *testing.T) {
			s := startFollow(t, plugins)
			host := s.context("host/client1.example.test")
			for name, test := range tests {
				m := new(dns.Msg).SetQuestion(name, test.qtype)
				m.SetEdns0(1232, false)
				check := func(network string, reply *dns.Msg) {
					t.Helper()
					what := fmt.Sprintf("%s by %s", name, network)
					want(t, what, dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
					want(t, what, owners(reply), test.answer)
					want(t, what+", AA", reply.Authoritative, true)
					want(t, what+", TC", reply.Truncated, false)
					opts := 0
					for _, rr := range reply.Extra {
						if rr.Header().Rrtype == dns.TypeOPT {
							opts++
						}
					}
					want(t, what+", OPT records", opts, 1)
				}
				for _, network := range []string{"udp", "tcp"} {
					reply, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).Exchange(m, s.address)
					if err != nil {
						t.Fatalf("%s by %s: %v", name, network, err)
					}
					check(network, reply)
				}
				reply, err := host.Exchange(t.Context(), m)
				if err != nil {
					t.Fatalf("%s, signed: %v", name, err)
				}
				check("udp, signed", reply)
			}
		})
	}
}

// TestFollowMindsACL: a CNAME does not get a client what the acl plugin would refuse it.
func TestFollowMindsACL(t *testing.T) {
	s := startFollow(t, "acl sub.example.test {\n  block net 127.0.0.0/8\n }")
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: 10 * time.Second}
		for name, test := range map[string]struct{ rcode, records int }{
			"a.sub.example.test.":       {dns.RcodeRefused, 0},
			"al.example.test.":          {dns.RcodeSuccess, 1}, // the CNAME
			"guid._msdcs.example.test.": {dns.RcodeSuccess, 2},
		} {
			reply, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), s.address)
			if err != nil {
				t.Fatal(err)
			}
			want(t, name+" by "+network, dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
			want(t, name+" by "+network+", records", len(reply.Answer), test.records)
		}
	}
}

// TestFollowBound: a chain through blocks that send it back ends after twelve names.
func TestFollowBound(t *testing.T) {
	var here, there strings.Builder
	for i := range 40 {
		fmt.Fprintf(&here, "c%d CNAME c%d.there.test.\n", i, i+1)
		fmt.Fprintf(&there, "c%d CNAME c%d.here.test.\n", i, i+1)
	}
	directory := t.TempDir()
	block := func(origin, records string) string {
		file := filepath.Join(directory, origin)
		text := "$TTL 300\n@ SOA ns.example.com. hostmaster.example.com. 1 3600 600 86400 60\n@ NS ns.example.com.\n" + records
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  file %s\n }\n}\n", origin, file)
	}
	s := start(t, block("here.test", here.String())+block("there.test", there.String()))
	for from, test := range map[int]struct{ rcode, records int }{0: {dns.RcodeServerFailure, 12}, 29: {dns.RcodeNameError, 11}} {
		reply, _, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(new(dns.Msg).SetQuestion(fmt.Sprintf("c%d.here.test.", from), dns.TypeA), s.address)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "rcode", dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
		want(t, "records", len(reply.Answer), test.records)
	}
}

// TestFollowTruncated: if a part of the answer did not fit, the client is told to come by TCP.
func TestFollowTruncated(t *testing.T) {
	seed := filepath.Join(t.TempDir(), "seed")
	text := "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nlarge CNAME large.file\n"
	if err := os.WriteFile(seed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var records strings.Builder
	for i := range 20 {
		fmt.Fprintf(&records, "large TXT \"%d %s\"\n", i, strings.Repeat("x", 100))
	}
	child := filepath.Join(t.TempDir(), "child")
	text = "$TTL 300\n$ORIGIN file.example.test.\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n" + records.String()
	if err := os.WriteFile(child, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, fmt.Sprintf("example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  file %s\n }\n}\n"+
		"file.example.test:{PORT} {\n bind 127.0.0.1\n file %s\n}\n", seed, child))
	for network, truncated := range map[string]bool{"udp": true, "tcp": false} {
		reply, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).Exchange(new(dns.Msg).SetQuestion("large.example.test.", dns.TypeTXT), s.address)
		if err != nil {
			t.Fatal(err)
		}
		want(t, network+", TC", reply.Truncated, truncated)
		if !truncated {
			want(t, network+", records", len(reply.Answer), 21)
		}
	}
}

// TestParentAnswersDS: the DS records of a zone are its parent's (RFC 4035 section 3.1.4.1), also if one block serves both.
func TestParentAnswersDS(t *testing.T) {
	standard.Requires(t, "RFC 1034", "4.3.2 nearest zone")
	const digest = "1 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766\n"
	zones := []struct{ origin, records string }{
		{"test", "example NS ns.example.com.\nexample DS " + digest},
		{"example.test", "secure NS ns.example.com.\nsecure DS " + digest + "insecure NS ns.example.com.\nother NS ns.example.com.\nother DS " + digest +
			"al CNAME secure\nalinsecure CNAME insecure\n"},
		{"secure.example.test", ""},
		{"insecure.example.test", ""},
		{"undelegated.example.test", ""},
		{"other.example.test", "al CNAME secure.example.test.\n"}, // in another block
	}
	directory := t.TempDir()
	var origins, files []string
	for _, z := range zones {
		file := filepath.Join(directory, z.origin)
		text := "$TTL 300\n$ORIGIN " + z.origin + ".\n@ SOA ns.example.com. hostmaster.example.com. 1 3600 600 86400 60\n@ NS ns.example.com.\n" + z.records
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		origins = append(origins, z.origin+":{PORT}")
		files = append(files, "  file "+file+" "+z.origin+"\n")
	}
	last := len(zones) - 1
	block := func(origins, files []string) string {
		return fmt.Sprintf("%s {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n%s }\n}\n", strings.Join(origins, " "), strings.Join(files, ""))
	}
	s := start(t, block(origins[:last], files[:last])+block(origins[last:], files[last:]))
	tests := map[string]struct{ answer, soa string }{
		"test.":                     {"", "test."}, // the block does not serve the root
		"example.test.":             {"example.test. DS", ""},
		"secure.example.test.":      {"secure.example.test. DS", ""},
		"SECURE.example.TEST.":      {"secure.example.test. DS", ""},
		"insecure.example.test.":    {"", "example.test."},
		"undelegated.example.test.": {"", "undelegated.example.test."},
		"other.example.test.":       {"other.example.test. DS", ""}, // CoreDNS asks the topmost block
		"al.example.test.":          {"al.example.test. CNAME, secure.example.test. DS", ""},
		"alinsecure.example.test.":  {"alinsecure.example.test. CNAME", "example.test."},
	}
	for name, test := range tests {
		for _, network := range []string{"udp", "tcp"} {
			reply, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeDS), s.address)
			if err != nil {
				t.Fatalf("%s by %s: %v", name, network, err)
			}
			var answer []string
			soa := ""
			for _, rr := range reply.Answer {
				answer = append(answer, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype])
			}
			for _, rr := range reply.Ns {
				soa = rr.Header().Name
			}
			want(t, name+" by "+network, dns.RcodeToString[reply.Rcode], "NOERROR")
			want(t, name+" by "+network, strings.Join(answer, ", "), test.answer)
			want(t, name+" by "+network+", SOA", soa, test.soa)
			want(t, name+" by "+network+", AA", reply.Authoritative, true)
		}
	}
}

// TestAdditionalThatDoesNotFit: additional records that do not fit are left out, whole sets, and do not send the client to TCP
// (RFC 2181 section 9). The glue of a referral does.
func TestAdditionalThatDoesNotFit(t *testing.T) {
	standard.Requires(t, "RFC 2181", "9 TC")
	standard.Requires(t, "RFC 6891", "6.2.3 size", "6.2.5 own limit")
	standard.Requires(t, "RFC 1035", "4.2.1 512 octets")
	var records strings.Builder
	for i := range 28 {
		fmt.Fprintf(&records, "a A 192.0.2.%d\n", i)
	}
	for i := range 70 {
		fmt.Fprintf(&records, "large A 192.0.2.%d\nns.child A 192.0.2.%[1]d\nns.child2 A 192.0.2.%[1]d\n", i)
	}
	seed := filepath.Join(t.TempDir(), "seed")
	text := "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nsmall A 192.0.2.1\n" +
		"fitting MX 1 a\nmail MX 1 small\nmail MX 2 large\nboth MX 1 large\nboth MX 2 ns.child2\nservice HTTPS 1 large\nchild NS ns.child\n" + records.String()
	if err := os.WriteFile(seed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, plugins := range map[string]string{"shortcut": "errors", "plugins": "log"} {
		t.Run(what, func(t *testing.T) {
			s := start(t, fmt.Sprintf("example.test:{PORT} {\n bind 127.0.0.1\n %s\n gsstsig {\n  keytab {KEYTAB}\n  file %s\n }\n}\n", plugins, seed))
			for _, test := range []struct {
				name                string
				qtype               uint16
				size                uint16 // 0: no OPT
				truncated           bool
				answers, additional int
			}{
				{"mail.example.test.", dns.TypeMX, 0, false, 2, 1},
				{"mail.example.test.", dns.TypeMX, 512, false, 2, 1},
				{"mail.example.test.", dns.TypeMX, 1232, false, 2, 71},
				{"both.example.test.", dns.TypeMX, 1232, false, 2, 70},
				{"both.example.test.", dns.TypeMX, 4096, false, 2, 70},  // by the limit of 1232
				{"fitting.example.test.", dns.TypeMX, 0, false, 1, 28},  // 504 octets
				{"fitting.example.test.", dns.TypeMX, 512, false, 1, 0}, // 11 more
				{"service.example.test.", dns.TypeHTTPS, 0, false, 1, 0},
				{"x.child.example.test.", dns.TypeA, 512, true, 0, -1},
				{"large.example.test.", dns.TypeA, 512, true, -1, 0},
			} {
				m := new(dns.Msg).SetQuestion(test.name, test.qtype)
				if test.size > 0 {
					m.SetEdns0(test.size, false)
				}
				reply, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(m, s.address)
				if err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				what := fmt.Sprintf("%s of %d octets", test.name, test.size)
				additional := 0
				for _, rr := range reply.Extra {
					if rr.Header().Rrtype != dns.TypeOPT {
						additional++
					}
				}
				want(t, what+", TC", reply.Truncated, test.truncated)
				want(t, what+", OPT", reply.IsEdns0() != nil, test.size > 0)
				if test.answers >= 0 {
					want(t, what+", answers", len(reply.Answer), test.answers)
				}
				if test.additional >= 0 {
					want(t, what+", additional", additional, test.additional)
				}
			}
		})
	}
}
