package listener

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// answerShortly is a shortcut that answers every question for TXT but those for long.<zone>, and breaks at panicking.<zone>.
func answerShortly(string) AnswerFunc {
	return func(response []byte, limit int) ([]byte, bool) {
		name := response[headerSize:]
		switch {
		case bytes.HasPrefix(name, []byte("\x09panicking")):
			panic("asked to")
		case bytes.HasPrefix(name, []byte("\x04long")), binary.BigEndian.Uint16(response[len(response)-4:]) != dns.TypeTXT:
			return response, false
		}
		record := "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x06\x05short"
		if len(response)+len(record) > limit {
			return response, false
		}
		response[2] |= 4
		response[5], response[7] = 1, 1
		return append(response, record...), true
	}
}

// startShort starts a Corefile whose probes "a" and "cached" have the shortcut.
func startShort(t *testing.T, corefile string) *running {
	t.Helper()
	for _, label := range []string{"a", "cached"} {
		probeAnswerers.Store(label, answerShortly)
		t.Cleanup(func() { probeAnswerers.Delete(label) })
	}
	return start(t, corefile)
}

// TestShortcut sends what the shortcut is for, and what it must leave to the usual way.
func TestShortcut(t *testing.T) {
	port := freePort(t)
	startShort(t, fmt.Sprintf(`
		example.org:%[1]s other.test:%[1]s {
			bind 127.0.0.1
			errors
			cache
			probe a
		}
		sub.example.org:%[1]s {
			bind 127.0.0.1
			probe b
			%[2]s
		}`, port, tsigBlock))
	at := local(port)
	with := func(name string, edit func(*dns.Msg)) *dns.Msg {
		m := query(name, dns.TypeTXT)
		edit(m)
		return m
	}
	asIs := func(*dns.Msg) {}
	edns := func(size uint16, do bool) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, do) } }
	for name, test := range map[string]struct {
		m    *dns.Msg
		text string
	}{
		"plain":            {with("x.example.org.", asIs), "short"},
		"upper case":       {with("X.EXAMPLE.ORG.", asIs), "short"},
		"the zone itself":  {with("other.test.", asIs), "short"},
		"CD and AD":        {with("x.example.org.", func(m *dns.Msg) { m.CheckingDisabled, m.AuthenticatedData = true, true }), "short"},
		"no RD":            {with("x.example.org.", func(m *dns.Msg) { m.RecursionDesired = false }), "short"},
		"EDNS":             {with("x.example.org.", edns(1232, false)), "short"},
		"EDNS and DO":      {with("x.example.org.", edns(4096, true)), "short"},
		"tiny EDNS":        {with("x.example.org.", edns(1, true)), "short"},
		"not simple":       {with("long.example.org.", asIs), "a unsigned"},
		"zone below":       {with("x.sub.example.org.", asIs), "b unsigned"},
		"signed":           {signed(with("x.example.org.", asIs)), "a " + keyName},
		"EDNS with option": {with("x.example.org.", func(m *dns.Msg) { edns(1232, false)(m); m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{}} }), "a unsigned"},
		"answer inside": {with("x.example.org.", func(m *dns.Msg) {
			m.Answer = []dns.RR{&dns.NULL{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNULL, Class: 1}}}
		}), "a unsigned"},
		"QR-less TC": {with("x.example.org.", func(m *dns.Msg) { m.Truncated = true }), "a unsigned"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ask(t, "udp", at, test.m)
			if got := texts(r); r.Rcode != dns.RcodeSuccess || got != test.text {
				t.Errorf("%s %q, want %q", dns.RcodeToString[r.Rcode], got, test.text)
			}
			usual := ask(t, "tcp", at, test.m)
			if texts(usual) == "short" {
				t.Error("TCP has no shortcut")
			}
			// What both ways say of the message itself.
			r.Authoritative, usual.Authoritative = false, false
			if r.MsgHdr != usual.MsgHdr {
				t.Errorf("header %+v, by the usual way %+v", r.MsgHdr, usual.MsgHdr)
			}
			short, long := r.IsEdns0(), usual.IsEdns0()
			if (short == nil) != (long == nil) || short != nil && short.String() != long.String() {
				t.Errorf("OPT %v, by the usual way %v", short, long)
			}
		})
	}
	for name, test := range map[string]struct {
		m     *dns.Msg
		rcode int
	}{
		"outside":      {with("x.elsewhere.test.", asIs), dns.RcodeRefused},
		"class CH":     {with("x.example.org.", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		"EDNS version": {with("x.example.org.", func(m *dns.Msg) { edns(1232, false)(m); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		"opcode":       {with("x.example.org.", func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), dns.RcodeNotImplemented},
	} {
		if r := ask(t, "udp", at, test.m); r.Rcode != test.rcode {
			t.Errorf("%s: %s, want %s", name, dns.RcodeToString[r.Rcode], dns.RcodeToString[test.rcode])
		}
	}
}

// metric reads a metric, with its labels, from CoreDNS's own page. One that is not there is 0.
func metric(t *testing.T, port, name string) float64 {
	t.Helper()
	r, err := http.Get("http://" + local(port) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	return 0
}

// TestShortcutPanics wants the usual answer where the shortcut breaks.
func TestShortcutPanics(t *testing.T) {
	port, metricsPort := freePort(t), freePort(t)
	startShort(t, fmt.Sprintf("example.org:%s {\n bind 127.0.0.1\n prometheus 127.0.0.1:%s\n probe a\n}", port, metricsPort))
	before := metric(t, metricsPort, "coredns_panics_total")
	// The first label of this name means nothing to the probe.
	if got := texts(ask(t, "udp", local(port), query("panicking.example.org.", dns.TypeTXT))); got != "a unsigned" {
		t.Errorf("answer %q", got)
	}
	if after := metric(t, metricsPort, "coredns_panics_total"); after != before+1 {
		t.Errorf("%v panics counted", after-before)
	}
	if got := texts(ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT))); got != "short" {
		t.Errorf("after a panic: %q", got)
	}
}

// TestNoShortcut has plugins in front that want to see every query.
func TestNoShortcut(t *testing.T) {
	for name, corefile := range map[string]string{
		"cache":    "example.org:%[1]s {\n bind 127.0.0.1\n cache\n probe cached\n}",
		"log":      "example.org:%[1]s {\n bind 127.0.0.1\n log\n probe a\n}",
		"tsig":     "example.org:%[1]s {\n bind 127.0.0.1\n probe a\n %[2]s\n}",
		"metadata": "example.org:%[1]s {\n bind 127.0.0.1\n metadata\n probe a\n}",
		"view": "example.org:%[1]s {\n bind 127.0.0.1\n view v {\n expr server_ip() == '127.0.0.1'\n }\n probe a\n}\n" +
			"example.org:%[1]s {\n bind 127.0.0.1\n probe b\n}",
	} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			startShort(t, strings.NewReplacer("%[1]s", port, "%[2]s", tsigBlock).Replace(corefile))
			if got := texts(ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT))); got == "short" || !strings.HasSuffix(got, " unsigned") {
				t.Errorf("answer %q", got)
			}
		})
	}
}

// TestShortcutIsCounted compares CoreDNS's metrics of queries by either way.
func TestShortcutIsCounted(t *testing.T) {
	port, metricsPort := freePort(t), freePort(t)
	startShort(t, fmt.Sprintf("example.org:%s {\n bind 127.0.0.1\n prometheus 127.0.0.1:%s\n probe a\n}", port, metricsPort))
	of := fmt.Sprintf(`server="dns://%s",view="",zone="example.org."`, local(port))
	labels := func(before, between string) string {
		return strings.Replace("{"+before+of+"}", `,view=`, between+`,view=`, 1)
	}
	counted := func(n float64) func() bool {
		return func() bool {
			for _, name := range []string{
				"coredns_dns_requests_total" + labels(`family="1",proto="udp",`, `,type="TXT"`),
				"coredns_dns_responses_total" + labels(`plugin="probe",rcode="NOERROR",`, ""),
				"coredns_dns_do_requests_total" + labels("", ""),
				"coredns_dns_request_duration_seconds_count" + labels("", ""),
				"coredns_dns_request_size_bytes_count" + labels(`proto="udp",`, ""),
				"coredns_dns_response_size_bytes_count" + labels(`proto="udp",`, ""),
			} {
				if metric(t, metricsPort, name) != n {
					return false
				}
			}
			return true
		}
	}
	m := query("x.example.org.", dns.TypeTXT)
	m.SetEdns0(1232, true)
	for range 3 {
		if got := texts(ask(t, "udp", local(port), m)); got != "short" {
			t.Fatalf("answer %q", got)
		}
	}
	eventually(t, "all three are counted", counted(3))
	m.Question[0].Name = "long.example.org."
	if got := texts(ask(t, "udp", local(port), m)); got != "a unsigned" {
		t.Fatalf("answer %q", got)
	}
	eventually(t, "the usual way counts on", counted(4))
}

// FuzzPlainQuery holds what the shortcut takes for a plain query against the parser of messages.
func FuzzPlainQuery(f *testing.F) {
	for _, edit := range []func(*dns.Msg){
		func(*dns.Msg) {},
		func(m *dns.Msg) { m.SetEdns0(1232, true) },
		func(m *dns.Msg) { m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) },
		func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY },
		func(m *dns.Msg) { m.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix()) },
	} {
		m := query("WWW.Example.org.", dns.TypeA)
		edit(m)
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var q plainQuery
		if !q.parse(wire) {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatalf("no message: %v", err)
		}
		key, ok := wireKey(m.Question[0].Name)
		switch opt := m.IsEdns0(); {
		case m.Response, m.Opcode != dns.OpcodeQuery, m.Truncated, m.Rcode != 0, !complete(m, wire), !acceptable(m), hasTSIG(m):
			t.Errorf("not plain: %v", m)
		case len(m.Question) != 1, m.Question[0].Qclass != dns.ClassINET, m.Question[0].Qtype != q.qtype:
			t.Errorf("not the question: %v", m)
		case !ok, key != string(q.name[:q.end-4-headerSize]):
			t.Errorf("name %q, the message's is %s", q.name[:q.end-4-headerSize], m.Question[0].Name)
		case (opt != nil) != q.edns, opt != nil && (opt.UDPSize() != q.size || opt.Do() != (q.flags&0x80 != 0) || opt.Version() != 0 || len(opt.Option) > 0):
			t.Errorf("not the OPT: %v", opt)
		case q.limit() != replyLimit(m, false):
			t.Errorf("limit %d, want %d", q.limit(), replyLimit(m, false))
		}
	})
}

// TestPlainQueriesAreWhole cuts a plain query short, and makes it longer.
func TestPlainQueriesAreWhole(t *testing.T) {
	m := query(strings.Repeat("a.", 20)+"example.org.", dns.TypeA)
	m.SetEdns0(1232, false)
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q plainQuery
	if !q.parse(wire) {
		t.Fatal("not taken for a plain query")
	}
	for length := range wire {
		if q.parse(wire[:length:length]) {
			t.Errorf("%d octets of %d are taken for a plain query", length, len(wire))
		}
	}
	if q.parse(append(wire, 0)) {
		t.Error("one octet more is taken for a plain query")
	}
}
