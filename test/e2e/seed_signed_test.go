//go:build e2e

package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// TestSignedSeed starts from a zone that dnssec-signzone has signed, with NSEC and with NSEC3. What it added is left out, which
// the log says once; the rest is the zone before it was signed.
func TestSignedSeed(t *testing.T) {
	t.Parallel()
	path, err := process.LookPath("dnssec-signzone")
	if err != nil {
		t.Fatal(err)
	}
	base, _ := zoneKey(t, forwardZone)
	const text = "ns1 IN A 127.0.0.1\n*.wild IN A 192.0.2.30\nsub IN NS ns.sub\nsub IN DS 1 13 2 " +
		"0000000000000000000000000000000000000000000000000000000000000000\nns.sub IN A 192.0.2.32\n"
	plain := octetsOfSeed(t, seed("ns1.example.test")+text, 0)
	for _, how := range [][]string{{"-P"}, {"-3", "-"}} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "db"), []byte(seed("ns1.example.test")+text+"$INCLUDE "+base+".key\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append(how, "-z", "-d", dir, "-o", forwardZone, "-f", filepath.Join(dir, "signed"), filepath.Join(dir, "db"), base)
		if output, err := exec.CommandContext(testContext(t), path, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		signed, err := os.ReadFile(filepath.Join(dir, "signed"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(signed), "RRSIG") || !strings.Contains(string(signed), "DNSKEY") {
			t.Fatalf("dnssec-signzone has not signed:\n%s", signed)
		}
		sameOctets(t, "the signed zone", octetsOfSeed(t, string(signed), 1), plain)
	}
}

// octetsOfSeed is what a server has of a master file, without the SOA. It warns of records of a signed zone that often.
func octetsOfSeed(t *testing.T, text string, warnings int) map[string]bool {
	t.Helper()
	s := startBlock(t, forwardZone, []string{"file db " + forwardZone}, []string{"transfer {\n        to *\n    }"}, map[string]string{"db": text})
	if n := strings.Count(s.Log().String(), "records of a signed zone"); n != warnings {
		t.Errorf("%d warnings of a signed zone, want %d:\n%s", n, warnings, s.Log())
	}
	zone := octetsOf(t, s.Address)
	maps.DeleteFunc(zone, func(record string, _ bool) bool { return strings.Fields(record)[2] == "SOA" })
	return zone
}
