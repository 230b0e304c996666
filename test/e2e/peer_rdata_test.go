//go:build e2e

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire/dnswiretest"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
)

// rdataEach is how much rdata of each type is generated; a third of it is right.
const rdataEach = 60

// rdataTimeout is how long BIND has for an answer.
const rdataTimeout = 30 * time.Second

// rdataSeed is what the zone begins with.
const rdataSeed = "$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"

// rdataMessage is an UPDATE with a prerequisite that has the rdata at its end. It says where the rdata begins.
func rdataMessage(t *testing.T, r dnswiretest.Rdata) (msg []byte, start int) {
	t.Helper()
	m := new(dns.Msg).SetUpdate("example.test.")
	m.Answer = []dns.RR{&dns.RFC3597{
		Hdr:   dns.RR_Header{Name: "x.example.test.", Rrtype: r.Type, Class: dns.ClassINET},
		Rdata: fmt.Sprintf("%x", r.Octets),
	}}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg, len(msg) - len(r.Octets)
}

// bindTakesMore says why BIND accepts rdata that this server refuses, or nothing if it should not.
func bindTakesMore(r dnswiretest.Rdata, err error) string {
	switch {
	case strings.Contains(err.Error(), "compression pointer") && bytes.Contains(r.Octets, []byte{0xC0}):
		return "BIND follows a compression pointer into the header, where a zero octet is the root"
	case strings.Contains(err.Error(), "URI template") && bytes.Contains(r.Octets, []byte{0xED}):
		return "BIND takes surrogates for UTF-8, RFC 3629 section 3 does not"
	}
	return ""
}

// TestRdataAsBIND sends rdata of all types, right and wrong, to BIND, and compares what it refuses with what this server
// does: whatever an update stores can be transferred to BIND.
func TestRdataAsBIND(t *testing.T) {
	bind, err := named.Start(t.Context(), named.Config{
		Zones:   []named.Zone{{Name: "example.test", Text: rdataSeed, Statement: " allow-update { 127.0.0.1; };"}},
		Options: "check-names primary ignore;",
		Memory:  true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer bind.Stop()
	conn, err := net.Dial("tcp", bind.Address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	excused := make(map[string]int)
	for _, r := range dnswiretest.Generate(1, rdataEach) {
		msg, start := rdataMessage(t, r)
		_, err := dnswire.ExpandRdata(nil, msg, start, len(msg), r.Type)
		refused := refusedByBIND(t, conn, msg, r.Type)
		if refused == (err != nil) {
			continue
		}
		if !refused {
			if why := bindTakesMore(r, err); why != "" {
				excused[why]++
				continue
			}
		}
		t.Errorf("%s %x: BIND refuses it: %v; here: %v", dnswire.TypeText(r.Type), r.Octets, refused, err)
	}
	for why, n := range excused {
		t.Logf("%d times %s", n, why)
	}
}

// exchangeOctets sends a message on a connection by TCP, as it is, and returns the reply.
func exchangeOctets(t *testing.T, conn net.Conn, msg []byte) []byte {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(rdataTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
		t.Fatal(err)
	}
	return receiveOctets(t, conn)
}

// receiveOctets reads the next message of a connection by TCP.
func receiveOctets(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

// refusedByBIND sends a message and reports whether BIND found its rdata malformed.
func refusedByBIND(t *testing.T, conn net.Conn, msg []byte, rrtype uint16) bool {
	t.Helper()
	reply := exchangeOctets(t, conn, msg)
	h, err := dnswire.ParseHeader(reply)
	if err != nil {
		t.Fatal(err)
	}
	switch h.Rcode() {
	case dns.RcodeNXRrset: // it was read, and the zone has no such record
		return false
	case dns.RcodeFormatError:
		return true
	case dns.RcodeServerFailure:
		// BIND cannot look for NSEC3 at a name of the zone; of other types it is what reading the rdata ended with.
		return rrtype != dns.TypeNSEC3
	}
	t.Fatalf("%s: %s", dnswire.TypeText(rrtype), dns.RcodeToString[h.Rcode()])
	return false
}

// TestRdataTextAsBIND has BIND read the text of rdata of all types, and reads the text that BIND writes: both must mean the
// same octets.
func TestRdataTextAsBIND(t *testing.T) {
	var zone strings.Builder
	zone.WriteString(rdataSeed)
	want := make(map[string]dnswiretest.Rdata) // by owner
	for i, r := range dnswiretest.Generate(1, rdataEach) {
		if dnswire.Validate(r.Type, r.Octets) != nil {
			continue
		}
		switch r.Type {
		case dns.TypeSOA: // there is only one, at the apex
			continue
		case dns.TypeMD, dns.TypeMF: // BIND refuses them in a master file, in whatever form
			continue
		}
		owner := fmt.Sprintf("r%d", i)
		want[owner+".example.test."] = r
		fmt.Fprintf(&zone, "%s 300 IN %s %s\n", owner, dnswire.TypeText(r.Type), dnswire.TextOrGeneric(r.Type, r.Octets))
	}
	dir := t.TempDir()
	input, output := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(input, []byte(zone.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "named-compilezone", "-i", "none", "-k", "ignore", "-n", "ignore", "-m", "ignore", "-M", "ignore",
		"-S", "ignore", "-r", "ignore", "-T", "ignore", "-s", "full", "-o", output, "example.test", input)
	if said, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(zone.String(), "\n")
		for line := range strings.Lines(string(said)) {
			if words := strings.Split(line, ":"); len(words) > 2 {
				if n, err := strconv.Atoi(words[2]); err == nil && n <= len(lines) {
					line += "\t" + lines[n-1]
				}
			}
			t.Error(line)
		}
		t.FailNow()
	}
	text, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, ";") {
			continue
		}
		words := columns.FindStringSubmatch(line)
		if words == nil {
			t.Fatalf("BIND writes %q", line)
		}
		owner, text := words[1], words[2]
		r, ok := want[owner]
		if !ok {
			continue
		}
		delete(want, owner)
		rdata, err := dnswire.ParseText(r.Type, lineTokens(text), nil)
		if err != nil || !dnswire.Equal(r.Type, rdata, r.Octets) {
			t.Errorf("%s %x: BIND writes %s, which reads as %x, %v", dnswire.TypeText(r.Type), r.Octets, text, rdata, err)
		}
	}
	for owner, r := range want {
		t.Errorf("BIND has lost %s: %s %x", owner, dnswire.TypeText(r.Type), r.Octets)
	}
}

// columns are the owner and the rdata in a line of named-compilezone.
var columns = regexp.MustCompile(`^(\S+)\s+\d+\s+IN\s+\S+\s*(.*)\n$`)

// lineTokens splits the rdata that BIND writes in one line.
func lineTokens(line string) (tokens []dnswire.Token) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		end, inQuotes := 0, false
		for ; end < len(line) && (inQuotes || line[end] != ' '); end++ {
			switch line[end] {
			case '\\':
				end++
			case '"':
				inQuotes = !inQuotes
			}
		}
		word := line[:min(end, len(line))]
		line = line[len(word):]
		inner, quoted := strings.CutPrefix(word, `"`)
		if quoted {
			word = strings.TrimSuffix(inner, `"`)
		}
		tokens = append(tokens, dnswire.Token{Text: word, Quoted: quoted})
	}
	return tokens
}
