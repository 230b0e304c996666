//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire/dnswiretest"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
)

// updatedEach is how much rdata of each type is added by updates; a third of it is right.
const updatedEach = 12

// rdataUpdate is an UPDATE that adds a record, with these octets at its end.
func rdataUpdate(t *testing.T, name string, class uint16, r dnswiretest.Rdata) []byte {
	t.Helper()
	m := new(dns.Msg).SetUpdate(forwardZone + ".")
	m.Id = 0x4242 // rdata may point to it
	ttl := uint32(300)
	if class == dns.ClassANY {
		ttl = 0
	}
	m.Ns = []dns.RR{&dns.RFC3597{
		Hdr:   dns.RR_Header{Name: name, Rrtype: r.Type, Class: class, Ttl: ttl},
		Rdata: fmt.Sprintf("%x", r.Octets),
	}}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// updateDiffers says why BIND's rcode is another one than this server's, or nothing if it should not be.
func updateDiffers(msg []byte, r dnswiretest.Rdata, ours, bind int) string {
	_, err := dnswire.ExpandRdata(nil, msg, len(msg)-len(r.Octets), len(msg), r.Type)
	switch {
	case ours == dns.RcodeFormatError && bind == dns.RcodeSuccess && err != nil:
		return bindTakesMore(r, err)
	case ours == dns.RcodeFormatError && bind == dns.RcodeServerFailure && err != nil:
		return "BIND answers SERVFAIL to rdata whose reading ends with another error than FORMERR"
	case ours == dns.RcodeRefused && bind == dns.RcodeServerFailure && r.Type == dns.TypeNSEC3:
		return "BIND refuses to add NSEC3 too, but cannot look for it at a name of the zone before"
	}
	return ""
}

func dialTCP(t *testing.T, address netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// octetsOf is a zone as a server transfers it: owner, type, TTL and octets of each record.
func octetsOf(t *testing.T, address netip.AddrPort) map[string]bool {
	t.Helper()
	conn := dialTCP(t, address)
	query, err := new(dns.Msg).SetAxfr(forwardZone + ".").Pack()
	if err != nil {
		t.Fatal(err)
	}
	zone := make(map[string]bool)
	reply := exchangeOctets(t, conn, query)
	for ends := 0; ; reply = receiveOctets(t, conn) {
		w, err := dnswire.NewWalker(reply)
		if err != nil {
			t.Fatal(err)
		}
		if h := w.Header(); h.Rcode() != dns.RcodeSuccess {
			t.Fatalf("AXFR from %v: %s", address, dns.RcodeToString[h.Rcode()])
		}
		var r dnswire.Record
		for w.Next(&r) {
			if r.Section != dnswire.Answers {
				continue
			}
			owner, err := w.AppendOwner(nil, &r)
			if err != nil {
				t.Fatal(err)
			}
			rdata, err := w.AppendRdata(nil, &r)
			if err != nil {
				t.Fatalf("AXFR from %v: %s %x: %v", address, dnswire.NameText(owner), reply[r.RdataStart:r.RdataEnd], err)
			}
			if r.Type == dns.TypeSOA && dnswire.NameText(owner) == forwardZone+"." {
				ends++
			}
			zone[fmt.Sprintf("%s %d %s %x", dnswire.NameText(owner), r.TTL, dnswire.TypeText(r.Type), rdata)] = true
		}
		if err := w.Err(); err != nil {
			t.Fatal(err)
		}
		if ends == 2 {
			return zone
		}
	}
}

// sameOctets fails the test unless two zones have the same octets.
func sameOctets(t *testing.T, what string, got, want map[string]bool) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, record := range slices.Sorted(maps.Keys(got)) {
		if !want[record] {
			t.Errorf("%s has %s", what, record)
		}
	}
	for _, record := range slices.Sorted(maps.Keys(want)) {
		if !got[record] {
			t.Errorf("%s has not %s", what, record)
		}
	}
}

// TestRdataUpdatesAsBIND adds rdata of all types, right and wrong, to BIND and to this server by update: both give the same
// rcode. BIND then has the zone of this server, by IXFR and by AXFR, octet by octet; and so has this server what BIND writes of
// it as a master file.
func TestRdataUpdatesAsBIND(t *testing.T) {
	t.Parallel()
	zone := seed("ns1.example.test") + "ns1 IN A 127.0.0.1\n"
	// What BIND checks of MX records besides their rdata is a policy of its own.
	peer := startNamed(t, named.Config{
		Zones:   []named.Zone{{Name: forwardZone, Text: zone, Statement: " allow-update { 127.0.0.1; };"}},
		Options: "check-names primary ignore; check-mx ignore; check-integrity no;",
		Memory:  true,
	})
	port := freePort(t)
	ours := startBlock(t, forwardZone, []string{"file db " + forwardZone, "updates nonsecure-and-secure", "grant anonymous zonesub ANY", "limit source-errors 1000000"},
		[]string{fmt.Sprintf("transfer {\n        to * 127.0.0.1:%d\n    }", port)}, map[string]string{"db": zone})
	follower := named.Config{
		Options: "check-names secondary ignore;", Memory: true, Debug: 3,
		Zones: []named.Zone{{Name: forwardZone, Primary: ours.Address}},
	}
	first := follower
	first.Port = port
	incremental := startNamed(t, first)
	until(t, "the first transfer", func() bool { return len(gotWhole.FindAllString(incremental.Log(), -1)) > 0 })

	ourConn, peerConn := dialTCP(t, ours.Address), dialTCP(t, peer.Address)
	excused := make(map[string]int)
	all := dnswiretest.Generate(7, updatedEach)
	rcodes := make(map[int]int)
	for i, r := range all {
		msg := rdataUpdate(t, fmt.Sprintf("R%d.%s.", i, forwardZone), dns.ClassINET, r)
		our, bind := rcodeOf(t, ourConn, msg), rcodeOf(t, peerConn, msg)
		rcodes[our]++
		if our == bind {
			continue
		}
		if why := updateDiffers(msg, r, our, bind); why != "" {
			excused[why]++
			continue
		}
		t.Errorf("%s %x: %s, by BIND %s", dnswire.TypeText(r.Type), r.Octets, dns.RcodeToString[our], dns.RcodeToString[bind])
	}
	if len(all) < 2000 || rcodes[dns.RcodeSuccess] < 1000 || rcodes[dns.RcodeFormatError] < 300 {
		t.Errorf("%d updates are too few: %v", len(all), rcodes)
	}
	for why, n := range excused {
		t.Logf("%d times %s", n, why)
	}
	t.Logf("%d updates, rcodes %v", len(all), rcodes)

	caughtUp := func() {
		t.Helper()
		want := serial(t, ours.Address, forwardZone)
		until(t, "BIND catches up", func() bool { return serial(t, incremental.Address, forwardZone) == want })
	}
	caughtUp()
	want := octetsOf(t, ours.Address)
	sameOctets(t, "BIND, by IXFR,", octetsOf(t, incremental.Address), want)
	if n := len(gotWhole.FindAllString(incremental.Log(), -1)); n != 1 {
		t.Errorf("%d whole transfers; all but the first are to be incremental", n)
	}
	whole := startNamed(t, follower)
	sameOctets(t, "BIND, by AXFR,", octetsOf(t, whole.Address), want)

	// Back: BIND reads MD and MF in no master file, so that they go before it writes one. What a signer would have added load
	// leaves out.
	for i, r := range all {
		if r.Type == dns.TypeMD || r.Type == dns.TypeMF {
			if rcode := rcodeOf(t, ourConn, rdataUpdate(t, fmt.Sprintf("r%d.%s.", i, forwardZone), dns.ClassANY, dnswiretest.Rdata{Type: r.Type})); rcode != dns.RcodeSuccess {
				t.Fatal(dns.RcodeToString[rcode])
			}
		}
	}
	whole = startNamed(t, follower)
	var written []byte
	until(t, "BIND writes the zone", func() bool {
		content, err := os.ReadFile(whole.ZoneFile(0))
		written = content
		return err == nil
	})
	back := loadAndServe(t, written)
	left := octetsOf(t, ours.Address)
	maps.DeleteFunc(left, func(record string, _ bool) bool {
		words := strings.Fields(record)
		return words[2] == "SOA" || slices.Contains([]string{"RRSIG", "NSEC", "NSEC3", "NSEC3PARAM"}, words[2])
	})
	maps.DeleteFunc(back, func(record string, _ bool) bool { return strings.Fields(record)[2] == "SOA" })
	sameOctets(t, "what BIND wrote", back, left)
}

// rcodeOf is the rcode of the reply to a message.
func rcodeOf(t *testing.T, conn net.Conn, msg []byte) int {
	t.Helper()
	h, err := dnswire.ParseHeader(exchangeOctets(t, conn, msg))
	if err != nil {
		t.Fatal(err)
	}
	return h.Rcode()
}

// loadAndServe loads a master file into a database, and returns what a server has of it.
func loadAndServe(t *testing.T, master []byte) map[string]bool {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "db"), master, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, status := command(t, dir, "load", "-database", "zones", forwardZone, "db"); status != 0 {
		t.Fatalf("load: exit status %d: %s", status, output)
	}
	s := startBlock(t, forwardZone, []string{fmt.Sprintf("database %s/zones", dir)}, []string{"transfer {\n        to *\n    }"}, nil)
	return octetsOf(t, s.Address)
}
